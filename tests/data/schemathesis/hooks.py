"""A check of ours for schemathesis: who shows no good token gets nothing that asks for one."""

import schemathesis

GOOD = "Bearer good-token"
REFUSALS = {400, 401, 403, 405, 408, 413, 429, 431}


@schemathesis.check
def nothing_without_a_token(ctx, response, case):
    asks = case.operation.definition.raw["security"]
    headers = {name.lower(): value for name, value in response.request.headers.items()}
    if asks and GOOD not in headers.get("authorization", ""):
        assert response.status_code in REFUSALS, f"{response.status_code} without a good token"
