"""Write the password of `admin` into the file that Airflow's simple auth manager reads."""

import json
import os
from pathlib import Path


def write(file: Path, password: str) -> None:
    """Replace the file by one with mode 0600."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump({"admin": password}, out)
    fresh.replace(file)


if __name__ == "__main__":
    write(
        Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]),
        os.environ["AIRFLOW_ADMIN_PASSWORD"],
    )
