"""Calls the app `callee` through the sidecar beside it with the Python SDK, and prints what came back as JSON.

The sidecar's ports come from the environment, as `outrigger run` gives them: DAPR_HTTP_PORT, DAPR_GRPC_PORT.
"""

import json
import sys

import grpc
from dapr.clients import DaprClient
from dapr.clients.grpc.interceptors import DaprClientInterceptor


def over_http():
    with DaprClient() as client:
        reply = client.invoke_method(
            'callee',
            'orders/42',
            data=json.dumps({'from': 'python'}),
            content_type='application/json',
            http_verb='PUT',
            http_querystring=(('a', '1'), ('b', 'x y')),
            metadata=(('x-mine', 'yes'),),
        )
        return {'text': reply.text(), 'content_type': reply.content_type}


def over_grpc():
    def raw(message):
        return message

    to_callee = DaprClientInterceptor([('dapr-app-id', 'callee')])
    with DaprClient(interceptors=[to_callee]) as client:
        # The SDK's own channel, with the SDK's own interceptor: what its documentation calls gRPC proxying.
        channel = client._channel
        service = '/outrigger.test.Echo/'
        unary = channel.unary_unary(service + 'Unary', raw, raw)
        bidi = channel.stream_stream(service + 'Bidi', raw, raw)
        answer, call = unary.with_call(b'from python', metadata=(('x-mine', 'yes'),), timeout=20)
        try:
            channel.unary_unary(service + 'TrailersOnly', raw, raw)(b'', timeout=20)
            status = 'OK'
        except grpc.RpcError as error:
            status = f'{error.code().name}: {error.details()}'
        return {
            'unary': answer.decode(),
            'trailer': dict(call.trailing_metadata()).get('x-trailer'),
            'bidi': [message.decode() for message in bidi(iter([b'1', b'2', b'3']), timeout=20)],
            'trailers_only': status,
        }


print(json.dumps({'http': over_http, 'grpc': over_grpc}[sys.argv[1]]()))
