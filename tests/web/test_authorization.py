"""Who may do what: every route of every listener, by every kind of token."""

from typing import ClassVar

from whole_daemon import LISTENERS, OFF_LOOPBACK, WholeDaemonTests

OPERATOR, AGENT, SERVER, READ, WRITE, INTERNAL = "operator", "agent", "server", "read", "write", "internal"

HAS = {
    None: set(),
    "bad": set(),
    "old-token": set(),
    "old-operator": set(),
    "operator-token": {OPERATOR, AGENT, SERVER},
    "fleet-token": {AGENT, SERVER},
    "bound-token": {AGENT},
    "read-token": {READ},
    "write-token": {WRITE},
    "all-token": {READ, WRITE},
    "instance-token": {INTERNAL},
}
KNOWN_FOR = {
    OPERATOR: set(),
    AGENT: set(),
    SERVER: {AGENT},
    READ: {READ, WRITE},
    WRITE: {READ, WRITE},
    INTERNAL: {INTERNAL},
}
"""Who is known, and refused with 403: the others are strangers (401, and 429 for who goes on)."""

OF_OPERATORS = {
    ("GET", "/api/v1/nodes"),
    ("GET", "/api/v1/nodes/{name}"),
    ("GET", "/api/v1/nodes/{name}/explain"),
    ("GET", "/api/v1/peers"),
    ("GET", "/api/v1/consul"),
    ("GET", "/api/v1/brake"),
    ("POST", "/api/v1/brake/release"),
    ("GET", "/api/v1/version"),
    ("GET", "/probe"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/openapi/{listener}"),
}
OF_AGENTS = {
    ("POST", "/api/v1/heartbeat"),
    ("POST", "/api/v1/test-results/hosts"),
    ("POST", "/api/v1/test-results/pods"),
    ("POST", "/api/v1/test-results/service"),
    ("GET", "/api/v1/hosts"),
    ("GET", "/api/v1/pods"),
    ("GET", "/api/v1/test-results/hosts"),
    ("GET", "/api/v1/test-results/pods"),
    ("GET", "/api/v1/test-results/service"),
    ("GET", "/api/v1/clients"),
    ("GET", "/api/v1/clients/count"),
    ("GET", "/api/v1/results"),
    ("GET", "/api/v1/report"),
    ("GET", "/api/v1/verdicts"),
}
OF_SERVERS = {("POST", "/api/v1/checker/exchange")}
OF_USERS = {
    ("GET", "/api/v1/clusters"): READ,
    ("POST", "/api/v1/clusters"): WRITE,
    ("GET", "/api/v1/clusters/{name}"): READ,
    ("PUT", "/api/v1/clusters/{name}"): WRITE,
    ("DELETE", "/api/v1/clusters/{name}"): WRITE,
    ("GET", "/api/v1/clusters/{name}/delivery"): READ,
    ("GET", "/api/v1/instances"): READ,
    ("POST", "/api/v1/rekey"): WRITE,
}
OPEN = {("GET", "/health/live"), ("GET", "/health/ready")}
OPEN_TOO = {("GET", "/api/v1/health")}

BY_LISTENER = {
    "listen": dict.fromkeys([("GET", "/healthz"), ("GET", "/info"), ("GET", "/probe")]),
    "clusters-internal": {
        ("POST", "/api/v1/internal/clusters/{name}/reload"): INTERNAL,
        **dict.fromkeys(OPEN),
    },
}


class Matrix:
    """The tests of every row; `needs` has what each route of each listener asks for."""

    async def rows(self):
        for part in LISTENERS:
            for (method, path), need in self.needs[part].items():
                yield part, method, path, need

    def test_no_route_is_without_a_row(self):
        for part in LISTENERS:
            routes = {(route.method, route.path) for route in self.daemon[part].routes}
            self.assertEqual(routes, set(self.needs[part]), part)

    async def test_each_token_may_do_what_it_is_for_and_nothing_else(self):
        async for part, method, path, need in self.rows():
            for token, has in HAS.items():
                answer = await self.ask(part, method, path, token)
                row = (part, method, path, token, answer.status, answer.body[:200])
                if need is None or need in has:
                    self.assertNotIn(answer.status, (401, 403, 429), row)
                elif has & KNOWN_FOR[need]:
                    self.assertEqual(answer.status, 403, row)
                else:
                    self.assertIn(answer.status, (401, 429), row)

    async def test_head_asks_for_the_same_as_get(self):
        async for part, method, path, need in self.rows():
            if method == "GET":
                status = (await self.ask(part, "HEAD", path)).status
                self.assertEqual(status in (401, 429), need is not None, (part, path, status))

    async def test_the_description_says_what_each_route_asks_for(self):
        documents = {part: await self.description(part, "operator-token") for part in LISTENERS}
        async for part, method, path, need in self.rows():
            operation = documents[part]["paths"][path][method.lower()]
            self.assertEqual(operation["security"], [] if need is None else [{"token": []}], (part, path))
            self.assertEqual("401" in operation["responses"], need is not None, (part, path))
            told = f"scope {need!r}" in operation.get("description", "")
            self.assertEqual(told, need in (READ, WRITE, INTERNAL), (part, path))


class OnLoopbackTests(Matrix, WholeDaemonTests):
    needs: ClassVar = {
        **BY_LISTENER,
        "api": {**dict.fromkeys(OF_OPERATORS | OF_AGENTS | OF_SERVERS | OPEN | OPEN_TOO), **OF_USERS},
    }

    async def test_by_another_name_than_localhost_nothing_is_answered(self):
        for method, path in self.needs["api"]:
            answer = await self.ask("api", method, path, "all-token", host="evil.example")
            self.assertEqual((answer.status, answer.json["code"]), (403, "FORBIDDEN"), path)


class OffLoopbackTests(Matrix, WholeDaemonTests):
    api_listen = OFF_LOOPBACK
    needs: ClassVar = {
        **BY_LISTENER,
        "api": {
            **dict.fromkeys(OF_OPERATORS, OPERATOR),
            **dict.fromkeys(OF_AGENTS, AGENT),
            **dict.fromkeys(OF_SERVERS, SERVER),
            **dict.fromkeys(OPEN | OPEN_TOO),
            **OF_USERS,
        },
    }

    async def test_a_path_that_there_is_not_asks_for_a_token_too(self):
        for path, token, status in (
            ("/none", None, 401),
            ("/none", "all-token", 401),
            ("/none", "operator-token", 404),
        ):
            self.assertEqual((await self.ask("api", "GET", path, token)).status, status)
