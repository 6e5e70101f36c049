"""Frozen settings. A run's identity is made of these; resources (workers, device, cluster) never are."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Base of every setting: immutable, and a name that does not exist is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
