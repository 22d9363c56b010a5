"""What an errno says of the other side, or of this machine."""

import errno
import os

_FAILED = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
}
_NOT_PERMITTED = (errno.EPERM, errno.EACCES)


def outcome(code: int) -> tuple[bool | None, str]:
    """`ok` and `reason` of a ProbeResult: True for 0, False for what speaks of the target, None for a local fault."""
    if code == 0:
        return True, ""
    if code in _FAILED:
        return False, _FAILED[code]
    if code in _NOT_PERMITTED:
        return None, "not permitted"
    return None, f"local fault: {os.strerror(code)}"


def code_of(error: Exception) -> int:
    """The errno of what a socket raised; EINVAL for what never reached the system."""
    return max(getattr(error, "errno", None) or 0, 0) or errno.EINVAL
