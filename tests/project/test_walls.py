"""The walls of pyproject.toml stand: each contract of import-linter breaks on a forbidden import.

The imports of the real package are read once; each test adds one that must not be.
"""

import copy
from pathlib import Path

import grimp
import pytest
from importlinter import api
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.domain.contract import Contract

ROOT = Path(__file__).resolve().parents[2]
KINDS: dict[str, type[Contract]] = {"forbidden": ForbiddenContract, "layers": LayersContract}

ROOMS = "The rooms: who may import whom, top to bottom"
SQL = "SQL only in db and in each room's sql"
TRAFFIC = "Outgoing traffic only in sending, the sources and the sandbox"
FLASK = "Flask only in the API and the sandbox"
RULES = "rules are pure: no I/O, no clock, no randomness"

CONFIGURATION = api.read_configuration(str(ROOT / "pyproject.toml"))


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("relay", include_external_packages=True, cache_dir=None)


def broken(imports: grimp.ImportGraph) -> set[str]:
    """The names of the contracts that these imports break."""
    found = set()
    for options in CONFIGURATION["contracts_options"]:
        contract = KINDS[options["type"]](options["name"], CONFIGURATION["session_options"], options)
        if not contract.check(copy.deepcopy(imports), verbose=False).kept:
            found.add(contract.name)
    return found


def with_import(imports: grimp.ImportGraph, importer: str, imported: str) -> grimp.ImportGraph:
    """These imports and one more; of packages that are not ours only the name is known."""
    changed = copy.deepcopy(imports)
    for module in (importer, imported):
        if module not in changed.modules:
            changed.add_module(module, is_squashed=not module.startswith("relay."))
    changed.add_import(importer=importer, imported=imported)
    return changed


def test_the_package_as_it_is_breaks_no_contract(imports: grimp.ImportGraph) -> None:
    assert broken(imports) == set()


def test_every_contract_of_the_project_is_tried_here() -> None:
    assert {options["name"] for options in CONFIGURATION["contracts_options"]} == {
        ROOMS,
        SQL,
        TRAFFIC,
        FLASK,
        RULES,
    }


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        # A room that imports a room above it, or beside it.
        ("relay.deliveries.claimer", "relay.polling.poller", ROOMS),
        ("relay.endpoints.sql.endpoints", "relay.deliveries.sql.deliveries", ROOMS),
        ("relay.db.engine", "relay.subscribers.encryption", ROOMS),
        ("relay.common.errors", "relay.settings", ROOMS),
        ("relay.polling.poller", "relay.housekeeping.housekeeper", ROOMS),
        ("relay.provider.source", "relay.subscribers.encryption", ROOMS),
        ("relay.api", "relay.bootstrap", ROOMS),
        # SQL outside `db` and `sql`: also in a new file, and in a worker beside the room's SQL.
        ("relay.deliveries.claimer", "sqlalchemy", SQL),
        ("relay.api.v1.watches", "sqlalchemy", SQL),
        ("relay.endpoints.rules.circuit_breaker", "sqlalchemy", SQL),
        ("relay.jobs.new_module", "sqlalchemy", SQL),
        ("relay.housekeeping.sql.prune", "sqlite3", SQL),
        ("relay.cli", "alembic", SQL),
        # Requests to others from elsewhere than the provider, the sender and the sandbox.
        ("relay.polling.poller", "requests", TRAFFIC),
        ("relay.api.health", "requests", TRAFFIC),
        ("relay.deliveries.dispatcher", "pycurl", TRAFFIC),
        ("relay.sending.sender", "requests", TRAFFIC),
        ("relay.endpoints.rules.addresses", "pycares", TRAFFIC),
        # Flask in a room that is no API.
        ("relay.watches.registration", "flask", FLASK),
        ("relay.deliveries.dispatcher", "werkzeug", FLASK),
        ("relay.bootstrap", "flask", FLASK),
        # Rules that read a clock, dice or the world.
        ("relay.deliveries.rules.retry_policy", "time", RULES),
        ("relay.deliveries.rules.retry_policy", "random", RULES),
        ("relay.endpoints.rules.circuit_breaker", "os", RULES),
        ("relay.provider.list_ai_job.rules.response_parser", "logging", RULES),
        ("relay.sending.rules.new_module", "socket", RULES),
        ("relay.common.ids", "secrets", RULES),
    ],
)
def test_an_import_through_a_wall_is_caught(
    imports: grimp.ImportGraph, importer: str, imported: str, contract: str
) -> None:
    assert contract in broken(with_import(imports, importer, imported))


def test_a_new_room_must_be_given_its_place(imports: grimp.ImportGraph) -> None:
    changed = copy.deepcopy(imports)
    changed.add_module("relay.attic")
    assert broken(changed) == {ROOMS}


@pytest.mark.parametrize("imported", ["sqlalchemy", "requests", "flask"])
def test_a_new_room_is_guarded_from_its_first_file(imports: grimp.ImportGraph, imported: str) -> None:
    of_it = {"sqlalchemy": SQL, "requests": TRAFFIC, "flask": FLASK}
    assert of_it[imported] in broken(with_import(imports, "relay.attic.first", imported))


def test_new_rules_of_a_new_room_are_pure(imports: grimp.ImportGraph) -> None:
    changed = copy.deepcopy(imports)
    for module in ("relay.attic", "relay.attic.rules"):
        changed.add_module(module)
    assert RULES in broken(with_import(changed, "relay.attic.rules.first", "time"))
