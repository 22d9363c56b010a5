"""The route table, errors as JSON, and the OpenAPI document, without a socket."""

import contextlib
from urllib.parse import quote

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from k3net.errors import BadRequest, NotFound, StoreUnavailable, Unauthorized
from k3net.web.api import described, node_routes, peer_routes, status_routes
from k3net.web.health import health_routes
from k3net.web.resource import (
    BadBody,
    MethodNotAllowed,
    Route,
    Table,
    UnsupportedMediaType,
    as_request_error,
    refusal,
)

PRINTABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


class Probe(msgspec.Struct):
    node: str
    ports: list[int] = []


def table(*routes):
    return Table(Route(method, path, lambda view: view) for method, path in routes)


class TableTests(SynchronousTestCase):
    @given(PRINTABLE)
    def test_a_segment_is_decoded_exactly_once(self, name):
        nodes = table(("GET", "/nodes/{name}"))
        _, values = nodes.match("GET", b"/nodes/" + quote(name, safe="").encode())
        self.assertEqual(values, {"name": name})

    @given(st.binary(max_size=40))
    def test_any_path_matches_or_is_a_request_error(self, path):
        nodes = table(("GET", "/nodes/{name}"))
        with_slash = b"/nodes/" + path
        with contextlib.suppress(BadRequest, NotFound):
            nodes.match("GET", with_slash)

    def test_what_is_no_encoding_or_no_utf_8_is_a_bad_request(self):
        nodes = table(("GET", "/nodes/{name}"))
        for path in (b"/nodes/%", b"/nodes/%f", b"/nodes/%zz", b"/nodes/%ff", b"/nodes/a%00b", b"/nodes/%0a", b"*"):
            with self.subTest(path=path):
                self.assertRaises(BadRequest, nodes.match, "GET", path)

    def test_an_encoded_slash_does_not_split_a_segment(self):
        _, values = table(("GET", "/nodes/{name}")).match("GET", b"/nodes/a%2Fb%252F")
        self.assertEqual(values, {"name": "a/b%2F"})

    def test_an_empty_segment_is_no_name(self):
        self.assertRaises(NotFound, table(("GET", "/nodes/{name}")).match, "GET", b"/nodes/")

    def test_another_method_is_told_which_there_are(self):
        nodes = table(("GET", "/nodes"), ("POST", "/nodes"))
        refused = self.assertRaises(MethodNotAllowed, nodes.match, "DELETE", b"/nodes")
        self.assertEqual(refused.headers, {"Allow": "GET, HEAD, POST"})

    def test_a_literal_path_that_stands_first_wins_over_a_template(self):
        both = table(("GET", "/nodes/all"), ("GET", "/nodes/{name}"))
        self.assertEqual(both.match("GET", b"/nodes/all")[0].path, "/nodes/all")
        self.assertEqual(both.match("GET", b"/nodes/n1")[1], {"name": "n1"})

    def test_two_routes_for_the_same_thing_are_a_mistake(self):
        self.assertRaises(ValueError, table, ("GET", "/a/{x}"), ("GET", "/a/{y}"))


class BodyTests(SynchronousTestCase):
    route = Route("POST", "/probes", lambda view: view, body=Probe)

    def test_a_body_comes_in_its_type(self):
        for content_type in ("application/json", "Application/JSON; charset=utf-8"):
            self.assertEqual(self.route.decode(content_type, b'{"node":"a","ports":[1]}'), Probe("a", [1]))

    def test_another_content_type_is_not_supported(self):
        for content_type in (None, "", "text/plain", "application/jsonp"):
            with self.subTest(content_type=content_type):
                self.assertRaises(UnsupportedMediaType, self.route.decode, content_type, b"{}")

    def test_a_body_that_does_not_fit_names_the_path_in_it(self):
        bad = self.assertRaises(BadBody, self.route.decode, "application/json", b'{"node":"a","ports":[1,"x"]}')
        self.assertEqual(bad.details, "$.ports[1]")

    def test_a_body_that_is_not_json_is_refused(self):
        anything = Route("POST", "/any", lambda view: view, body=object)
        for raw in (b"", b"{", b"\xff", b"[" * 60000, b'"\xff"'):
            with self.subTest(raw=raw[:10]):
                self.assertRaises(BadBody, anything.decode, "application/json", raw)


class ErrorTests(SynchronousTestCase):
    def test_an_error_is_code_message_and_details(self):
        answer = refusal(BadBody("Expected `int`", "$.port"))
        self.assertEqual(answer.status, 400)
        self.assertEqual(
            msgspec.json.decode(answer.body),
            {"code": "BAD_BODY", "message": "Expected `int`", "details": "$.port"},
        )

    def test_who_is_unauthorized_is_told_how(self):
        self.assertEqual(refusal(Unauthorized("no")).headers["WWW-Authenticate"], "Bearer")

    def test_the_text_of_other_errors_stays_here(self):
        for error, status in ((RuntimeError("secret"), 500), (StoreUnavailable("root:secret@db"), 503)):
            answer = refusal(as_request_error(error))
            self.assertEqual(answer.status, status)
            self.assertNotIn(b"secret", answer.body)


class OpenAPITests(SynchronousTestCase):
    def setUp(self):
        routes = [
            *health_routes(dict),
            *node_routes(list, str),
            *peer_routes(list),
            *status_routes(lambda: (True, {}), lambda: b""),
            Route("POST", "/probes", lambda view: view, query={"node": "Which."}, body=Probe, returns=list[Probe]),
        ]
        [self.document] = [route.answer(None) for route in described(routes, "1.2.3") if route.path == "/openapi.json"]
        self.operations = [
            (path, operation) for path, methods in self.document["paths"].items() for operation in methods.values()
        ]

    def test_every_route_is_in_it_and_itself_too(self):
        self.assertEqual(
            set(self.document["paths"]),
            {
                "/healthz",
                "/info",
                "/api/v1/nodes",
                "/api/v1/nodes/{name}",
                "/api/v1/peers",
                "/readyz",
                "/metrics",
                "/openapi.json",
                "/probes",
            },
        )

    def test_operations_have_names_of_their_own(self):
        names = [operation["operationId"] for _, operation in self.operations]
        self.assertEqual(len(names), len(set(names)))

    def test_every_path_parameter_is_declared(self):
        for path, operation in self.operations:
            declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            self.assertEqual(declared, {"name"} if "{name}" in path else set())

    def test_every_reference_leads_somewhere(self):
        wanted = set(_references(self.document))
        self.assertIn("#/components/schemas/Probe", wanted)
        for reference in wanted:
            found = self.document
            for step in reference.removeprefix("#/").split("/"):
                found = found[step]

    def test_it_is_json(self):
        self.assertEqual(msgspec.json.decode(msgspec.json.encode(self.document))["openapi"], "3.1.0")


def _references(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key == "$ref" else _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
