"""Settings of bearer tokens; apart from what checks them, which is loaded only where an issuer is set."""

from typing import Annotated, Literal

from prelabel_contract.base import Slug
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from ..errors import Refused
from ..settings import Frozen
from .access import Role

EVERY_PROJECT = "*"
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]


class OidcSettings(Frozen):
    """Who else may call: those who bring a token of this issuer."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_OIDC_")

    issuer: str = ""
    """The issuer, as its tokens name it: https://login.example/realms/labeling. Empty: no tokens are taken."""
    audience: str = ""
    """What the issuer calls Prelabel; a token for somebody else is not taken."""
    roles: dict[str, Role] = Field(default_factory=dict)
    """What the issuer's roles or groups may do here, as JSON: {"labeling-admins": "admin", "annotators": "labeler"}."""
    role_claim: str = "roles"
    """The claim that holds them; a path for a nested one, such as realm_access.roles."""
    project_claim: str = ""
    """The claim that holds the projects somebody reaches; * for all projects, whoever it is."""
    projects: dict[str, tuple[Slug | Literal["*"], ...]] = Field(default_factory=dict)
    """The projects behind the values of that claim, as JSON: {"team-a": ["mails"]}. Empty: the values are projects."""
    name_claim: str = "preferred_username"
    """The claim with a name of one person's alone: labelers annotate under it; the audit log shows it, too."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    """How tokens may be signed, as JSON."""
    leeway_seconds: Annotated[int, Field(ge=0, le=60)] = 30
    """How far the issuer's clock may be from ours."""

    def check(self) -> None:
        """Raises `Refused` for what would let in nobody, or too many."""
        missing = next((name for name in ("audience", "roles", "project_claim") if not getattr(self, name)), None)
        if missing is not None:
            raise Refused(f"PRELABEL_OIDC_{missing.upper()} is missing: PRELABEL_OIDC_ISSUER needs it")
