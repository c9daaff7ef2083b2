"""A gRPC app made with the library that the Python SDK stands on: says who called, as the sidecar beside it told."""

import sys
from concurrent import futures

import grpc


def who(_, context):
    metadata = dict(context.invocation_metadata())
    return f"{metadata.get('outrigger-caller-id')} by {metadata.get('outrigger-wire')}".encode()


def raw(message):
    return message


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
methods = {'Who': grpc.unary_unary_rpc_method_handler(who, raw, raw)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('outrigger.test.Whoami', methods),))
server.add_insecure_port(f'127.0.0.1:{sys.argv[1]}')
server.start()
print('listening', flush=True)
server.wait_for_termination()
