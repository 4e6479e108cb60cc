"""The libraries' own switches for oneDNN and for the CPU's instructions, and what they are worth.

Which switch works was found by trying, and differs by library, build and CPU: MKL heeds
`MKL_ENABLE_INSTRUCTIONS` on Intel's CPUs only; PyTorch's `ATEN_CPU_CAPABILITY` reaches its own
kernels, not MKL's; oneDNN's switches change nothing for a float64 network, whose layers TensorFlow
gives to Eigen. So no switch is believed: a probe asks the library what it does (see `facts.py`),
with the switch and without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from consistency.environment import cpu
from consistency.parity import Factor, Isa, OneDnn, Surroundings, SwitchEffect
from samescore.parity.facts import ATEN, LIBM, LIBMF, MKL, NUMPY, ONEDNN, ONEDNN_CALLS, OPENBLAS

TORCH_ONEDNN: Final = "torch.backends.mkldnn.enabled"
"""PyTorch has no variable for it: the cell sets this flag before it loads the model."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A library's switch.

    Attributes:
        name: the environment variable, or the flag that the cell sets itself.
        factor: what it changes.
        values: the factor's value to the switch's.
        fact: the name of the fact that tells whether it took effect.
    """

    name: str
    factor: Factor
    values: Mapping[str, str]
    fact: str


_ONEDNN_ISA: Final = Switch(
    "ONEDNN_MAX_CPU_ISA",
    Factor.ISA,
    {Isa.AVX512: "AVX512_CORE", Isa.AVX2: "AVX2", Isa.AVX: "AVX", Isa.SSE4: "SSE41"},
    ONEDNN,
)
_ATEN_ISA: Final = Switch(
    "ATEN_CPU_CAPABILITY",
    Factor.ISA,
    {Isa.AVX512: "avx512", Isa.AVX2: "avx2", Isa.AVX: "default", Isa.SSE4: "default"},
    ATEN,
)
_MKL_ISA: Final = Switch(
    "MKL_ENABLE_INSTRUCTIONS",
    Factor.ISA,
    {Isa.AVX512: "AVX512", Isa.AVX2: "AVX2", Isa.AVX: "AVX", Isa.SSE4: "SSE4_2"},
    MKL,
)
_OPENBLAS_ISA: Final = Switch(
    "OPENBLAS_CORETYPE",
    Factor.ISA,
    {Isa.AVX512: "SkylakeX", Isa.AVX2: "Haswell", Isa.AVX: "Sandybridge", Isa.SSE4: "Nehalem"},
    OPENBLAS,
)
# The C library's mathematics has one version for FMA (a CPU with AVX2) and one for older CPUs.
_GLIBC_VALUES: Final[dict[str, str]] = {
    Isa.AVX: "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4",
    Isa.SSE4: "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4",
}
_TF_ONEDNN: Final = Switch(
    "TF_ENABLE_ONEDNN_OPTS", Factor.ONEDNN, {OneDnn.ON: "1", OneDnn.OFF: "0"}, ONEDNN_CALLS
)
_TORCH_ONEDNN: Final = Switch(
    TORCH_ONEDNN, Factor.ONEDNN, {OneDnn.ON: "True", OneDnn.OFF: "False"}, ONEDNN_CALLS
)

_FLAGS: Final = {Isa.AVX512: "avx512f", Isa.AVX2: "avx2", Isa.AVX: "avx", Isa.SSE4: "sse4_2"}

_NUMPY_LEVELS: Final = {
    Isa.AVX2: ("AVX512", "X86_V4"),
    Isa.AVX: ("AVX512", "X86_V4", "X86_V3", "AVX2", "FMA3"),
    Isa.SSE4: ("AVX512", "X86_V4", "X86_V3", "AVX2", "FMA3", "AVX", "F16C"),
}
"""What numpy must not use below a level: beginnings of the names of its dispatched features."""


@dataclass(frozen=True, slots=True)
class Switches:
    """The switches of the libraries that make a model's score.

    Attributes:
        library: the module that the model's loader imports.
        all: its switches; numpy's too where numpy calibrates the score.
    """

    library: str
    all: tuple[Switch, ...]

    @classmethod
    def of(cls, library: str, *, calibrated: bool) -> Self:
        """Return a library's switches, if any.

        Args:
            library: the module that the loader imports.
            calibrated: whether the score is calibrated after the model, which numpy does.
        """
        by_library: dict[str, tuple[Switch, ...]] = {
            "tensorflow": (_TF_ONEDNN, _ONEDNN_ISA),
            "torch": (_TORCH_ONEDNN, _ATEN_ISA, _ONEDNN_ISA, _MKL_ISA),
            "sklearn": (_numpy_isa(), _OPENBLAS_ISA, _glibc(LIBM)),
            "lightgbm": (_glibc(LIBM),),
            "xgboost": (_glibc(LIBMF),),
        }
        found = by_library.get(library, ())
        if calibrated and not any(s.fact == NUMPY for s in found):
            found = (*found, _numpy_isa())
        return cls(library, found)


def _glibc(fact: str) -> Switch:
    return Switch("GLIBC_TUNABLES", Factor.ISA, _GLIBC_VALUES, fact)


def _numpy_isa() -> Switch:
    """Build numpy's switch from the features that this numpy dispatches to on this CPU.

    numpy refuses a name that it was not built with, and the names change with its versions.
    """
    from samescore.parity.facts import numpy_features

    enabled = numpy_features()
    values = {
        isa: ",".join(name for name in enabled if name.startswith(beginnings))
        for isa, beginnings in _NUMPY_LEVELS.items()
    }
    chosen: dict[str, str] = {isa: names for isa, names in values.items() if names}
    return Switch("NPY_DISABLE_CPU_FEATURES", Factor.ISA, chosen, NUMPY)


def settings_for(switches: tuple[Switch, ...], around: Surroundings) -> dict[str, str]:
    """Return each switch's value in the given surroundings; one that has none is left alone."""
    values = {Factor.ONEDNN: around.onednn.value, Factor.ISA: around.isa.value}
    found = {s.name: s.values.get(values[s.factor]) for s in switches}
    return {name: value for name, value in found.items() if value is not None}


def cannot_have(isa: Isa) -> str:
    """Return why this CPU cannot be held to a level, or nothing."""
    flag, flags = _FLAGS.get(isa), cpu()[1]
    if flag is None or flag in flags:
        return ""
    return f"this CPU has no {isa.value}"


def without(around: Surroundings, factor: Factor, baseline: Surroundings) -> Surroundings:
    """Return the surroundings with one switched factor set back to the baseline's value."""
    if factor is Factor.ISA:
        return replace(around, isa=baseline.isa)
    return replace(around, onednn=baseline.onednn)


def effects_of(
    switches: tuple[Switch, ...],
    factor: Factor,
    around: Surroundings,
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> tuple[SwitchEffect, ...]:
    """Return what a factor's switches did.

    Args:
        switches: the library's.
        factor: the one that was changed.
        around: the surroundings with the change.
        before: the library's facts without the change.
        after: its facts with it.
    """
    set_to = settings_for(switches, around)
    return tuple(
        SwitchEffect(f"{s.name}={set_to[s.name]}", before.get(s.fact, ""), after.get(s.fact, ""))
        for s in switches
        if s.factor is factor and s.name in set_to
    )


def why_not(library: str, effects: tuple[SwitchEffect, ...]) -> str:
    """Return why a factor cannot be changed for a library, or nothing when a switch took effect."""
    if any(e.took_effect for e in effects):
        return ""
    if not effects:
        return f"{library} has no switch for it"
    told = "; ".join(f"{e.switch}: {e.after or 'no answer'}, as without it" for e in effects)
    return f"no effect on {library} here ({told})"
