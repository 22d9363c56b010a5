"""The double of a Kubernetes API server as a process: python api_server_alone.py CERTIFICATE KEY ADDRESS

Its URL is the first line of what it says.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from clusters.api_server import ApiServer
from twisted.internet import reactor

if __name__ == "__main__":
    certificate, key, address = sys.argv[1:]
    server = ApiServer(certificate, key, host=address).start()
    print(server.url, flush=True)
    reactor.run()
