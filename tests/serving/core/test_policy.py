import pytest

from consistency.errors import ConfigError
from serving.core.policy import (
    Action,
    AllVersions,
    LatestVersions,
    Load,
    NoVersions,
    SpecificVersions,
    Unload,
    VersionPolicy,
    availability_preserving,
    parse_version_policy,
    resource_preserving,
)
from serving.core.state import ManagerState, ServableId, VersionStatus

START, LOADING = ManagerState.START, ManagerState.LOADING
AVAILABLE, UNLOADING, END = ManagerState.AVAILABLE, ManagerState.UNLOADING, ManagerState.END


@pytest.mark.parametrize(
    ("policy", "found", "aspired"),
    [
        pytest.param(LatestVersions(), [1, 10, 9], {10}, id="latest is the largest number"),
        pytest.param(LatestVersions(2), [3, 1, 2], {2, 3}, id="latest:2 is the two largest"),
        pytest.param(LatestVersions(5), [1, 2], {1, 2}, id="latest:5 of two is both"),
        pytest.param(LatestVersions(), [0], {0}, id="version 0 is a version"),
        pytest.param(LatestVersions(), [], set(), id="latest of nothing is nothing"),
        pytest.param(SpecificVersions(frozenset({1, 3})), [1, 2, 3], {1, 3}, id="specific ones"),
        pytest.param(SpecificVersions(frozenset({1, 7})), [1, 2], {1}, id="specific, one missing"),
        pytest.param(SpecificVersions(frozenset({7})), [1, 2], set(), id="specific, none there"),
        pytest.param(AllVersions(), [2, 1], {1, 2}, id="all is all"),
        pytest.param(NoVersions(), [2, 1], set(), id="none is none"),
    ],
)
def test_a_policy_aspires_to(policy: VersionPolicy, found: list[int], aspired: set[int]) -> None:
    assert policy.aspired(found) == aspired


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("latest", LatestVersions(1)),
        ("latest:2", LatestVersions(2)),
        (" latest:2 ", LatestVersions(2)),
        ("all", AllVersions()),
        ("specific:3", SpecificVersions(frozenset({3}))),
        ("specific:1, 3,003", SpecificVersions(frozenset({1, 3}))),
    ],
)
def test_a_policy_is_read(text: str, policy: VersionPolicy) -> None:
    assert parse_version_policy(text) == policy


@pytest.mark.parametrize(
    "text",
    [
        "newest",
        "Latest",
        "latest:",
        "latest:0",
        "latest:-1",
        "latest:1,2",
        "latest:two",
        "latest:²",
        "latest:2:3",
        "all:",
        "all:3",
        "specific",
        "specific:",
        "specific:1,",
        "specific:1,x",
        "",
    ],
)
def test_an_unusable_policy_names_itself(text: str) -> None:
    with pytest.raises(ConfigError, match="version policy") as caught:
        parse_version_policy(text)
    assert text in str(caught.value)


def test_a_specific_policy_names_a_version() -> None:
    with pytest.raises(ConfigError, match="specific:1,3"):
        SpecificVersions(frozenset())


# The first nine are tensorflow/serving's core/availability_preserving_policy_test.cc. kError is END
# here (with an error), kNew is START, kDisabled is END.
ASPIRED, NOT = True, False
CASES: list[tuple[str, dict[int, tuple[ManagerState, bool]], Action | None]] = [
    (
        "loads the highest new aspired version",
        {
            1: (UNLOADING, NOT),
            2: (END, NOT),
            3: (AVAILABLE, ASPIRED),
            4: (START, ASPIRED),
            5: (START, ASPIRED),
        },
        Load(5),
    ),
    (
        "unloads before it loads where that costs no availability",
        {
            1: (UNLOADING, NOT),
            2: (END, NOT),
            3: (AVAILABLE, NOT),
            4: (AVAILABLE, ASPIRED),
            5: (START, ASPIRED),
        },
        Unload(3),
    ),
    (
        "unloads all when nothing is aspired",
        {1: (END, NOT), 2: (AVAILABLE, NOT), 3: (END, NOT)},
        Unload(2),
    ),
    (
        "does nothing when nothing can be done",
        {
            1: (AVAILABLE, ASPIRED),
            2: (END, ASPIRED),
            3: (LOADING, ASPIRED),
            4: (UNLOADING, NOT),
            5: (END, NOT),
        },
        None,
    ),
    (
        "keeps the old version while the new one is loading",
        {1: (AVAILABLE, NOT), 2: (LOADING, ASPIRED)},
        None,
    ),
    (
        "keeps the old version when the new one failed",
        {1: (AVAILABLE, NOT), 2: (END, ASPIRED)},
        None,
    ),
    (
        "unloads the old version when a new one is there, though another is loading",
        {1: (AVAILABLE, NOT), 2: (LOADING, ASPIRED), 3: (AVAILABLE, ASPIRED)},
        Unload(1),
    ),
    (
        "unloads the old version when a new one is there, though another failed",
        {1: (AVAILABLE, NOT), 2: (END, ASPIRED), 3: (AVAILABLE, ASPIRED)},
        Unload(1),
    ),
    (
        "unloads the lowest of two old versions: one of them is availability enough",
        {2: (AVAILABLE, NOT), 1: (AVAILABLE, NOT), 3: (END, ASPIRED), 4: (LOADING, ASPIRED)},
        Unload(1),
    ),
    (
        "loads the new version before it unloads the old",
        {1: (AVAILABLE, NOT), 2: (START, ASPIRED)},
        Load(2),
    ),
    (
        "tries the next aspired version when the highest failed",
        {1: (AVAILABLE, NOT), 2: (START, ASPIRED), 3: (END, ASPIRED)},
        Load(2),
    ),
    (
        "goes back to a lower version as safely as forward",
        {1: (START, ASPIRED), 2: (AVAILABLE, NOT)},
        Load(1),
    ),
    (
        "unloads the higher version once the lower aspired one is there",
        {1: (AVAILABLE, ASPIRED), 2: (AVAILABLE, NOT)},
        Unload(2),
    ),
    ("does not load what is not aspired", {1: (START, NOT)}, None),
    ("keeps what is aspired and there", {1: (AVAILABLE, ASPIRED)}, None),
    ("has nothing to do for no version", {}, None),
]


@pytest.mark.parametrize(("versions", "action"), [pytest.param(*c[1:], id=c[0]) for c in CASES])
def test_the_availability_preserving_policy(
    versions: dict[int, tuple[ManagerState, bool]], action: Action | None
) -> None:
    aspired = {number for number, (_, is_aspired) in versions.items() if is_aspired}
    statuses = [
        VersionStatus(ServableId("m", number), state) for number, (state, _) in versions.items()
    ]
    assert availability_preserving(aspired, statuses) == action


def test_an_aspired_version_without_a_status_is_new() -> None:
    assert availability_preserving({1, 2}, []) == Load(2)


# The first seven are tensorflow/serving's core/resource_preserving_policy_test.cc. kUnloadRequested
# is UNLOADING here.
RESOURCE_CASES: list[tuple[str, dict[int, tuple[ManagerState, bool]], Action | None]] = [
    (
        "unloads the lowest unaspired version",
        {
            1: (UNLOADING, NOT),
            2: (AVAILABLE, ASPIRED),
            3: (AVAILABLE, NOT),
            4: (START, ASPIRED),
            5: (AVAILABLE, NOT),
        },
        Unload(3),
    ),
    (
        "loads the highest new version when there is nothing to unload",
        {
            1: (AVAILABLE, ASPIRED),
            2: (LOADING, ASPIRED),
            3: (START, ASPIRED),
            4: (END, NOT),
            5: (START, ASPIRED),
        },
        Load(5),
    ),
    (
        "does nothing when nothing can be done",
        {
            1: (AVAILABLE, ASPIRED),
            2: (END, ASPIRED),
            3: (LOADING, ASPIRED),
            4: (UNLOADING, NOT),
            5: (END, NOT),
        },
        None,
    ),
    ("loads nothing while another is unloading", {1: (UNLOADING, NOT), 2: (START, ASPIRED)}, None),
    ("loads when the old one failed", {1: (END, NOT), 2: (START, ASPIRED)}, Load(2)),
    (
        "waits for an unload beside a failed one",
        {1: (END, NOT), 2: (UNLOADING, NOT), 3: (START, ASPIRED)},
        None,
    ),
    (
        "loads when all the old ones are gone",
        {1: (END, NOT), 2: (END, NOT), 3: (START, ASPIRED)},
        Load(3),
    ),
    ("gives availability up", {1: (AVAILABLE, NOT), 2: (START, ASPIRED)}, Unload(1)),
    (
        "waits for a load that nobody wants any more",
        {1: (LOADING, NOT), 2: (START, ASPIRED)},
        None,
    ),
    ("is not held up by what was never tried", {1: (START, NOT), 2: (START, ASPIRED)}, Load(2)),
]


@pytest.mark.parametrize(
    ("versions", "action"), [pytest.param(*c[1:], id=c[0]) for c in RESOURCE_CASES]
)
def test_the_resource_preserving_policy(
    versions: dict[int, tuple[ManagerState, bool]], action: Action | None
) -> None:
    aspired = {number for number, (_, is_aspired) in versions.items() if is_aspired}
    statuses = [
        VersionStatus(ServableId("m", number), state) for number, (state, _) in versions.items()
    ]
    assert resource_preserving(aspired, statuses) == action
