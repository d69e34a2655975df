"""MLflow's server for `raysafe ui`, without its assistant: `python -m raysafe.tracking.mlflow.pages server --host ...`.

MLflow 3.17 has no switch for the assistant, which runs shell commands for whoever reaches the server from the same machine, also
through a tunnel. Here its addresses answer 404, and a browser that comes for the first time sees the pages for training. An
experiment that is opened without a link opens on its comparison, once a tab: by itself MLflow shows one row there, and the trials
folded away.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from raysafe.tracking.comparison import MAIN_VIEW
from raysafe.tracking.views import TAG, view_link

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CLOSED = "/ajax-api/3.0/mlflow/assistant"
_COMPARISON = """
const experiment = /^#\\/experiments\\/(\\d+)(?:\\/runs)?\\/?(?:\\?(.*))?$/;
setInterval(async () => {
  const [, id, query = ""] = experiment.exec(location.hash) || [];
  if (!id || sessionStorage.getItem("raysafe.opened." + id)) return;
  sessionStorage.setItem("raysafe.opened." + id, "yes");
  if (/viewStateShareKey|searchFilter=[^&]/.test(query)) return;
  const answer = await fetch("ajax-api/2.0/mlflow/experiments/get?experiment_id=" + id);
  const tags = (await answer.json()).experiment.tags || [];
  if (tags.some((tag) => tag.key === "VIEW")) location.replace("LINK".replace("ID", id));
}, 200);
""".replace("VIEW", TAG + MAIN_VIEW).replace("LINK", view_link("", "ID", MAIN_VIEW).removeprefix("/"))
"""Who comes with a view or a filter of their own, or leaves the comparison, is left alone."""
_FIRST_VISIT = """<head><script>
try {
  localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
  localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
  if (!localStorage.getItem("mlflow.workflowType_v1")) localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"');
  COMPARISON
} catch (refused) {}
</script><style>button:has(.assistant-fab-label) { display: none }</style>""".replace("COMPARISON", _COMPARISON).encode()
"""MLflow's page keeps these choices in the browser: the assistant closed, and training rather than traces of agents. Its button
would open on an error."""


class Pages:
    """An ASGI application around MLflow's."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and CLOSED in scope["path"]:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"raysafe's server has no assistant"})
        elif scope["type"] == "http" and scope["path"] == "/" and scope["method"] == "GET":
            conditions = (b"if-none-match", b"if-modified-since", b"range")
            whole = {**scope, "headers": [header for header in scope["headers"] if header[0].lower() not in conditions]}
            await self.app(whole, receive, _FirstVisit(send))
        else:
            await self.app(scope, receive, send)


class _FirstVisit:
    """Sends the page on with the choices of a first visit in it."""

    def __init__(self, send: Send) -> None:
        self.send, self.body = send, b""
        self.start: dict[str, Any] = {}

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = dict(message)
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                await self._whole()

    async def _whole(self) -> None:
        body = self.body.replace(b"<head>", _FIRST_VISIT, 1)
        kept = [
            header for header in self.start["headers"] if header[0].lower() not in (b"content-length", b"etag", b"last-modified")
        ]
        await self.send({**self.start, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
        await self.send({"type": "http.response.body", "body": body})


def __getattr__(name: str) -> Any:
    """`app`, for uvicorn in the server's own process."""
    if name != "app":
        raise AttributeError(name)
    from mlflow.server.fastapi_app import app

    return Pages(app)


def main(arguments: list[str]) -> None:
    """MLflow's command line, whose server serves `app`."""
    import mlflow.server
    from mlflow.cli import cli

    made = mlflow.server._build_uvicorn_command

    def command(*arguments: Any, **options: Any) -> list[str]:
        return [*made(*arguments, **options)[:-1], "raysafe.tracking.mlflow.pages:app"]

    mlflow.server._build_uvicorn_command = command
    cli(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
