"""Settings, from four sources in this order: the command line, `PATHSCOPE_*`, `pathscope.toml`, defaults."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from archive.errors import UsageError


class Settings(BaseSettings):
    """What may be set once for a folder or a machine instead of on every command."""

    model_config = SettingsConfigDict(
        env_prefix="PATHSCOPE_", toml_file="pathscope.toml", extra="forbid", frozen=True
    )

    archive: Path = Field(Path("pathscope.duckdb"), description="the archive commands work on")
    sql_seconds: float = Field(30.0, gt=0, description="wall-clock limit of one `pathscope sql` statement")
    sql_memory_mb: int = Field(2048, ge=64, description="memory limit of one `pathscope sql` statement")
    sql_rows: int = Field(
        1_000_000, ge=1, description="rows after which a `pathscope sql` result is cut, visibly"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, pathscope.toml in the current folder; nothing hidden."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


def load_settings() -> Settings:
    """Read the settings; raises UsageError naming the setting, the value found and what is allowed."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(p) for p in first["loc"])
        known = ", ".join(Settings.model_fields)
        raise UsageError(
            f"setting {name!r} is {first['input']!r}: {first['msg']}. It comes from PATHSCOPE_{name.upper()} or "
            f"pathscope.toml in {Path.cwd()}; settings are {known}."
        ) from None
