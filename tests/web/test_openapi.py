"""The descriptions of a whole daemon's listeners: every route, every parameter, every answer."""

import json
import re

from twisted.trial.unittest import SynchronousTestCase
from whole_daemon import LISTENERS, WholeDaemonTests

from k3net.credentials import ServerTls
from k3net.web.openapi import openapi
from k3net.web.resource import Route
from k3net.web.site import Listener


class DescriptionTests(WholeDaemonTests):
    async def documents(self):
        for part in LISTENERS:
            yield part, await self.description(part)

    async def operations(self):
        async for part, document in self.documents():
            for path, methods in document["paths"].items():
                for method, operation in methods.items():
                    yield part, path, method, operation

    async def test_every_route_of_every_listener_is_described_and_nothing_else(self):
        async for part, document in self.documents():
            described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
            self.assertEqual(described, {(route.method, route.path) for route in self.daemon[part].routes})

    async def test_a_listener_that_there_is_not_is_404_and_the_answer_says_which_there_are(self):
        answer = await self.ask("api", "GET", "/openapi/none")
        self.assertEqual(answer.status, 404)
        self.assertIn("listen, clusters.internal_listen", answer.json["message"])

    async def test_every_good_answer_in_json_has_a_schema(self):
        async for part, path, method, operation in self.operations():
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            self.assertEqual(len(good), 1, (part, path, method))
            [(kind, content)] = good[0]["content"].items()
            self.assertTrue(kind == "text/plain" or content["schema"], (part, path, method))

    async def test_statuses_that_follow_from_the_route_are_described(self):
        async for part, path, method, operation in self.operations():
            statuses = set(operation["responses"])
            where = (part, path, method, statuses)
            self.assertLessEqual({"400", "405", "408", "413", "431"}, statuses, where)
            self.assertEqual("415" in statuses, "requestBody" in operation, where)
            self.assertLessEqual({"404"} if "{" in path else set(), statuses, where)
            self.assertEqual("500" in statuses, path.endswith("/reload"), where)
            self.assertNotIn("default", statuses)

    async def test_every_parameter_of_the_path_is_declared_and_no_two_operations_have_one_name(self):
        names = []
        async for part, path, _, operation in self.operations():
            declared = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            self.assertEqual(declared, set(re.findall(r"{(\w+)}", path)))
            names.append((part, operation["operationId"]))
        self.assertEqual(len(names), len(set(names)))

    async def test_every_reference_leads_somewhere_and_every_schema_is_used(self):
        async for _, document in self.documents():
            wanted = set(re.findall(r'"#/([^"]+)"', json.dumps(document)))
            for reference in wanted:
                found = document
                for step in reference.split("/"):
                    found = found[step]
            unused = {f"components/schemas/{name}" for name in document["components"]["schemas"]} - wanted
            self.assertEqual(unused, set())


class CertificateTests(SynchronousTestCase):
    def test_a_listener_that_asks_for_a_certificate_says_so_of_each_route(self):
        route = Route("GET", "/x", lambda view: {}, returns=dict)
        for ca, security in (("ca.pem", [{"certificate": []}]), ("", [])):
            tls = ServerTls("cert.pem", "key.pem", ca)
            listener = Listener(None, "127.0.0.1:0", [route], tls=tls)
            document = openapi(listener.routes, "1", certificate=listener.asks_for_certificate)
            self.assertEqual(document["paths"]["/x"]["get"]["security"], security)
