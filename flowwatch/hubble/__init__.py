"""All that passes between Hubble and us: its contract, filters, captures, the cluster, the client."""

import os

# gRPC's C core writes its own log to standard error, into the middle of what the user sees: four
# lines for a client certificate that is missing. It looks here once, when grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
