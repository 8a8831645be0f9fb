# Airflow's own image and this product. docker-compose.yaml builds it; an existing Airflow cluster
# can use it too.
FROM apache/airflow:3.3.2-python3.11

USER airflow
WORKDIR /opt/airflow

# With the image's own version in the command, pip stops if the requirements need another one.
COPY --chown=airflow:root requirements.txt ./
RUN pip install --no-cache-dir "apache-airflow==${AIRFLOW_VERSION}" --requirement requirements.txt

COPY --chown=airflow:root pyproject.toml README.md LICENSE ./
COPY --chown=airflow:root include include
COPY --chown=airflow:root plugins plugins
COPY --chown=airflow:root dags dags
COPY --chown=airflow:root demo demo
COPY --chown=airflow:root docker docker
# Installs the command `sms`; editable, so that no module exists a second time in site-packages.
RUN pip install --no-cache-dir --no-deps --editable .

# A new named volume gets the owner of the folder that it is mounted on.
RUN mkdir -p auth data/archive data/runs logs sandbox sandbox-keys
