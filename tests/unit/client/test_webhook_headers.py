"""Headers of a subscription on the command line, and beside it."""

from pathlib import Path

import pytest
from prelabel_client.command.webhook import headers_of
from prelabel_client.errors import Refused


def test_a_header_may_come_from_a_file_so_that_no_process_list_shows_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("Bearer secret\n")
    given = ["X-Team: a: b", f"Authorization: @{tmp_path / 'token'}"]
    assert headers_of(given) == {"X-Team": "a: b", "Authorization": "Bearer secret"}


def test_a_header_without_a_colon_is_refused_and_not_repeated() -> None:
    with pytest.raises(Refused) as refused:
        headers_of(["Bearer secret"])
    assert "secret" not in str(refused.value)
