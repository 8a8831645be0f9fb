# Airflow's own image with what this product adds. docker-compose.yaml builds it; a cluster that
# runs Airflow already can use it as it is.
FROM apache/airflow:3.3.2-python3.11

USER airflow
WORKDIR /opt/airflow

# Naming the version that the image has makes pip stop if the requirements asked for another.
COPY --chown=airflow:root requirements.txt ./
RUN pip install --no-cache-dir "apache-airflow==${AIRFLOW_VERSION}" --requirement requirements.txt

COPY --chown=airflow:root pyproject.toml README.md LICENSE ./
COPY --chown=airflow:root include include
COPY --chown=airflow:root plugins plugins
COPY --chown=airflow:root dags dags
COPY --chown=airflow:root demo demo
COPY --chown=airflow:root docker docker
# For the command `sms`; editable, so that a module exists once and not also in site-packages.
RUN pip install --no-cache-dir --no-deps --editable .

# A new named volume takes over the owner of the folder that it is mounted on.
RUN mkdir -p auth data/archive data/runs logs sandbox sandbox-keys
