"""One Prelabel in this process for all tests of the API; each takes projects of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prelabel_contract.names import Lane
from prelabel_ingestion.settings import Source

from tests.rig.in_process import Here, prelabel_here


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Here]:
    """Prelabel with two inbound sources: crm may write to crm-mails, archive to any lane of it."""
    inbound = {
        "crm": Source(projects=("crm-mails", "not-there-yet")),
        "archive": Source(projects=("crm-mails",), lanes=(Lane.BACKFILL,)),
    }
    async with prelabel_here(tmp_path_factory.mktemp("prelabel"), inbound=inbound) as here:
        yield here
