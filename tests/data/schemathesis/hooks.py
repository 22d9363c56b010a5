"""A check of ours for schemathesis: who shows no token gets nothing that asks for one."""

import schemathesis

REFUSALS = {400, 401, 403, 405, 408, 413, 429, 431}


@schemathesis.check
def nothing_without_a_token(ctx, response, case):
    asks = case.operation.definition.raw["security"]
    shown = any(name.lower() == "authorization" for name in response.request.headers)
    if asks and not shown:
        assert response.status_code in REFUSALS, f"{response.status_code} without a token"
