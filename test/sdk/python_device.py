"""A device on Azure's unmodified Python SDK: telemetry, twin, a desired change."""
import os
import queue
import sys

from azure.iot.device import IoTHubDeviceClient, Message

client = IoTHubDeviceClient.create_from_connection_string(
    os.environ["CS"], server_verification_cert=open(os.environ["NODE_EXTRA_CA_CERTS"]).read())
patches = queue.Queue()
client.on_twin_desired_properties_patch_received = patches.put
client.connect()
for i in range(20):
    message = Message('{"i": %d}' % i)
    message.message_id = "m %d" % i
    message.content_type, message.content_encoding = "application/json", "utf-8"
    message.custom_properties["a b"] = "c&d=e/f"
    client.send_message(message)
assert client.get_twin()["reported"]["$version"] == 1
client.patch_twin_reported_properties({"ready": True})
print("ready", flush=True)
while patches.get(timeout=30).get("rate") != 7:
    pass
client.shutdown()
sys.exit(0)
