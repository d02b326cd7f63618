"""The server's address: bound once, printed with its token, given up cleanly."""

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from samjax.annotate.server import ServerConfig, address, listening
from samjax.core.errors import UserError

PROGRAM = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from samjax.annotate.server import ServerConfig, address, listening, serve

config = ServerConfig(port=0)
app = Starlette(routes=[Route("/api/session", lambda _: JSONResponse({"mode": "manual"}))])
with listening(config) as listener:
    serve(lambda: app, config, listener, on_start=lambda: print(address(config, listener), flush=True))
print("over", flush=True)
"""


def test_a_port_in_use_is_a_sentence():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(
                UserError, match=rf"--host 127\.0\.0\.1 --port {port} cannot be used \(.*in use\): give another"
            ),
            listening(ServerConfig(port=port)),
        ):
            pass


@pytest.mark.parametrize(
    ("config", "begins", "ends"),
    [
        (ServerConfig(port=0), "http://127.0.0.1:", "/"),
        (ServerConfig(port=0, token="secret"), "http://127.0.0.1:", "/#token=secret"),
        (ServerConfig(port=0, host="0.0.0.0", token="secret"), f"http://{socket.gethostname()}:", "/#token=secret"),
    ],
)
def test_the_address_is_what_a_browser_opens(config, begins, ends):
    with listening(config) as listener:
        found = address(config, listener)
    assert found.startswith(begins)
    assert found.endswith(ends)
    assert ":0/" not in found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_its_own_page_alone_and_ends_at_a_signal(number):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        place = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{place}api/session", timeout=20) as answer:
            assert answer.read() == b'{"mode":"manual"}'
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(
                urllib.request.Request(f"{place}api/session", headers={"Host": "evil.example"}), timeout=20
            )
        process.send_signal(number)
        said, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in errors
    if number == signal.SIGINT:
        assert (process.returncode, said) == (0, "over\n")
