"""Which arguments of ssh are honoured."""

import pytest

from hs_common.errors import RefusedError
from hs_deploy.launchers.ssh_args import parse_ssh_args


def test_letters_and_settings_become_lines_of_a_configuration() -> None:
    """In the order in which they were typed: there the first one wins."""
    text = "-i 'my key' -p2222 -l me -J gate:22 -o ConnectTimeout=3 -oCompression=yes -o 'hostname=x'"

    args = parse_ssh_args(text, "--ssh-args", fabric=True)

    assert args.config_text().splitlines() == [
        "Host *",
        "    IdentityFile my key",
        "    Port 2222",
        "    User me",
        "    ProxyJump gate:22",
        "    ConnectTimeout 3",
        "    Compression yes",
        "    HostName x",
    ]
    assert args.config is None


def test_another_configuration_may_take_the_place_of_the_usual_ones() -> None:
    """As -F does."""
    assert parse_ssh_args("-F /dev/null", "--ssh-args", fabric=True).config == "/dev/null"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-X", "-X: cannot be honoured"),
        ("-o GSSAPIAuthentication=yes", "-o GSSAPIAuthentication: cannot be honoured"),
        ("-o StrictHostKeyChecking=no", "StrictHostKeyChecking=no: only yes"),
        ("-o BatchMode=no", "BatchMode=no: only yes"),
        ("-o Port", "expected Key=Value"),
        ("-p", "-p: expected a value"),
        ("host", "host: is no option of ssh"),
        ("-F /no/such", "/no/such: no such file"),
        ("-i 'key", "quote it as for a shell"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(text: str, said: str) -> None:
    """Passed over in silence it would be taken for honoured."""
    with pytest.raises(RefusedError, match=r"^--ssh-args") as refused:
        parse_ssh_args(text, "--ssh-args", fabric=True)
    assert said in str(refused.value)


def test_the_ssh_program_knows_all_that_there_is() -> None:
    """So nothing is refused but what is no option."""
    args = parse_ssh_args("-4 -o GSSAPIAuthentication=yes -i key", "--ssh-args", fabric=False)

    assert args.words == ("-4", "-o", "GSSAPIAuthentication=yes", "-i", "key")
