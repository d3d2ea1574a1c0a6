"""Every setting of an installation: environment variables `SCORELINE_*`, or a file `scoreline.toml`."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


class Settings(BaseSettings):
    """One installation. Arguments win over the environment, the environment over the file."""

    model_config = SettingsConfigDict(env_prefix="SCORELINE_", extra="forbid")

    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port the API listens on; 0 takes a free one.")
    data_dir: Path = Field(
        Path("scoreline-data"), description="Folder for the database file, uploads, results and models."
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL of a PostgreSQL database; without it, a SQLite file in the data folder."
    )
    spool_url: str | None = Field(
        None,
        description="Where uploads, results, datasets and models lie: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or "
        "`az://CONTAINER/PREFIX`; without it, the data folder. Credentials come from the environment.",
    )
    admin_token: SecretStr | None = Field(
        None, description="API token of the first administrator; without it, one is made at first start and shown once."
    )
    master_key: SecretStr | None = Field(
        None,
        description="Key that stored secrets are sealed with: 32 bytes as Base64 or hexadecimal; older ones follow "
        "after commas. Without it, a key file.",
    )
    master_key_file: Path | None = Field(
        None, description="File of that key; by default `master.key` in the data folder, which is made at first start."
    )
    allowed_networks: str = Field(
        "",
        description="Networks such as `10.0.0.0/8` and places such as `minio.internal:9000` that users may name in "
        "addresses; an admin may name any server but those of clouds' own services.",
    )
    cloud_identity: bool = Field(
        False,
        description="Jobs that name no credential reach the clouds' own object stores as the machine does (instance "
        "profile, managed identity, service account); without it, as anybody.",
    )
    predictor_host: str = Field("127.0.0.1", description="Address the prediction server listens on.")
    predictor_port: int = Field(0, ge=0, le=65535, description="Port of the prediction server; 0 takes a free one.")
    predictor_processes: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="Processes that run models; one a core by default.",
    )
    predictor_url: str | None = Field(None, description="Address under which others reach the prediction server.")
    predictor_models: int = Field(8, ge=1, description="Models that each process keeps loaded.")
    drum: Path | None = Field(
        None, description="Environment in which DRUM runs custom models: the folder of a venv, or its Python."
    )
    worker_jobs: int = Field(4, ge=1, description="Jobs that one worker runs at once.")
    instance_slots: int = Field(
        1, ge=1, description="Jobs that run at once on a new prediction instance; the rest wait in line."
    )
    lease_seconds: float = Field(6.0, gt=0, description="A job whose worker is silent for so long is taken over.")
    max_model_bytes: int = Field(4 << 30, ge=1, description="Largest model artefact that may be uploaded.")
    upload_idle_seconds: float = Field(120.0, gt=0, description="An upload that sends nothing for so long is broken.")
    upload_grace_seconds: float = Field(
        5.0, ge=0, description="An upload that broke off may be sent again for so long; then its job is aborted."
    )
    abort_failed_rows: int = Field(
        100, ge=1, description="`abortOnError` ends a job once so many rows failed, and more than the share below."
    )
    abort_failed_share: float = Field(
        0.1, ge=0, le=1, description="`abortOnError` ends a job once more than this share of its rows failed."
    )
    abort_first_rows: int = Field(
        1000, ge=1, description="`abortOnError` ends a job whose first rows all failed, so many of them."
    )
    refusal_calls: int = Field(
        1500,
        ge=0,
        description="Calls spent on finding the rows that a model refuses, for each 1,000 rows of a chunk; at least "
        "200 are made. Rows that are not settled then fail.",
    )
    answer_seconds: float = Field(600.0, gt=0, description="Time that a prediction server has to answer one call.")
    patience_seconds: float = Field(
        300.0,
        ge=0,
        description="A prediction server, a store or a web server that is away or busy for so long ends the job.",
    )
    max_expansion: int = Field(
        250, ge=1, description="A compressed intake may unpack to so many times its own size, once past 100 MiB."
    )
    max_unpacked_bytes: int = Field(1 << 40, ge=1, description="A compressed intake may unpack to so many bytes.")
    max_errors_bytes: int = Field(
        256 << 20, ge=0, description="Size of the list of failed rows that a job keeps; further ones are counted only."
    )
    min_free_bytes: int = Field(
        256 << 20, ge=0, description="Free disk space below which new uploads and results are refused."
    )
    max_spool_bytes: int | None = Field(
        None,
        ge=1,
        description="Bytes that uploads, results and all else of jobs, and datasets, may take together; without it, "
        "what the disk has.",
    )
    max_upload_bytes: int | None = Field(
        None, ge=1, description="Largest upload of one job, all parts together; without it, any."
    )
    max_result_bytes: int | None = Field(
        None, ge=1, description="Largest result of one job that is downloaded; without it, any."
    )
    max_dataset_bytes: int | None = Field(
        None, ge=1, description="Largest file of a dataset, as it comes; without it, any."
    )
    undelete_hours: float = Field(
        24.0, ge=0, description="A deleted dataset can be brought back for so long; then its data is deleted."
    )
    upload_wait_hours: float = Field(
        24.0, gt=0, description="A job whose data has not come for so long is aborted, parts of it included."
    )
    retention_hours: float = Field(
        48.0,
        ge=0,
        description="Results are deleted so long after their job's end, unless the job says otherwise "
        "(`retentionHours`).",
    )
    max_run_seconds: float | None = Field(
        None, gt=0, description="A job that has run for so long, pauses not counted, is aborted; without it, none is."
    )
    files_dir: Path | None = Field(
        None,
        description="Folder whose files jobs may read and write (type `filesystem`), the same for API and workers; "
        "without it, none.",
    )
    partition_bytes: int = Field(
        64 << 20,
        ge=0,
        description="Intakes of twice this size and more are cut in partitions of about this size, which idle workers "
        "share; 0 cuts none.",
    )
    webhook_seconds: float = Field(10.0, gt=0, description="Time that the receiver of a webhook has to answer.")
    webhook_hours: float = Field(
        24.0, ge=0, description="A webhook's message is sent again for so long until its receiver takes it."
    )
    public_url: str | None = Field(
        None,
        pattern="^https?://[^/?#]+[^?#]*$",
        description="Address under which users reach the API, such as `https://scoreline.example.com`: links in "
        "webhooks' messages begin with it. Without it they are paths.",
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the state store."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'scoreline.db').resolve()}"

    @property
    def spool_dir(self) -> Path:
        """Folder of the local spool."""
        return self.data_dir / "spool"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- the base class fixes the signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the file named by SCORELINE_CONFIG (scoreline.toml by default)."""
        file = Path(os.environ.get("SCORELINE_CONFIG", "scoreline.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)
