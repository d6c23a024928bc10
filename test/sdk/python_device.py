"""A device or module on Azure's unmodified Python SDK.

Reads what it is from DEVICE (JSON), prints what reaches it, one JSON a line, and
ends when its method "stop" is called.
"""
import json
import os
import threading

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse, X509

device = json.loads(os.environ["DEVICE"])
options = {
    "server_verification_cert": open(os.environ["NODE_EXTRA_CA_CERTS"]).read(),
    "websockets": device["websockets"],
    "connection_retry": False,
}
names = {"hostname": device["host"], "device_id": device["deviceId"]}
kind = IoTHubDeviceClient
if "moduleId" in device:
    kind, names["module_id"] = IoTHubModuleClient, device["moduleId"]

if "connectionString" in device:
    client = kind.create_from_connection_string(device["connectionString"], **options)
elif "sastoken" in device:
    client = kind.create_from_sastoken(device["sastoken"], **options)
else:
    client = kind.create_from_x509_certificate(X509(device["cert"], device["key"]), **names, **options)

stop = threading.Event()


def tell(event, value):
    print(json.dumps({"event": event, "value": value}), flush=True)


def answer(request):
    tell("method", [request.name, request.payload])
    client.send_method_response(MethodResponse.create_from_method_request(request, 203, {"got": request.payload}))
    if request.name == "stop":
        stop.set()


def message(m):
    tell("message", [m.data.decode(), m.message_id, m.custom_properties])


try:
    client.connect()
except Exception as e:
    tell("refused", type(e).__name__)
    os._exit(3)
client.on_twin_desired_properties_patch_received = lambda patch: tell("desired", patch)
client.on_method_request_received = answer
if kind is IoTHubDeviceClient:
    client.on_message_received = message
for i in range(20):
    m = Message('{"i": %d}' % i)
    m.message_id = "m %d" % i
    m.content_type, m.content_encoding = "application/json", "utf-8"
    m.custom_properties["a b"] = "c&d=e/f"
    client.send_message(m)
client.send_message(Message(b"x" * 262111))
client.patch_twin_reported_properties({"ready": True, "gone": 1})
client.patch_twin_reported_properties({"gone": None})
tell("twin", client.get_twin())
assert stop.wait(300)
client.shutdown()
