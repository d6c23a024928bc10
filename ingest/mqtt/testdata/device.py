"""A device on Azure's unmodified SDK: telemetry and twin."""
import queue
import sys

from azure.iot.device import IoTHubDeviceClient, Message

cs, ca = sys.argv[1:]
client = IoTHubDeviceClient.create_from_connection_string(cs, server_verification_cert=open(ca).read())
patches = queue.Queue()
client.on_twin_desired_properties_patch_received = patches.put
client.connect()
m = Message('{"temperature":21}')
m.content_type = "application/json"
m.content_encoding = "utf-8"
m.message_id = "m 1"
m.custom_properties["a b"] = "c&d=e/f"
client.send_message(m)
twin = client.get_twin()
assert twin["desired"]["x"] == 1, twin
client.patch_twin_reported_properties({"y": 2})
while patches.get(timeout=10)["$version"] != 2:
    pass
client.send_message("last")
client.shutdown()
