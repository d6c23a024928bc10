"""Runs the unmodified azure-iot-hub IoTHubRegistryManager against a hub: registry.py CONNECTION_STRING

Prints "ok NAME" for every step and ends with status 1 at the first that fails.
"""
import base64
import sys

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import ExportImportDevice, Twin, TwinProperties, AuthenticationMechanism, SymmetricKey


def step(name):
    print("ok", name, flush=True)


def fails(code, f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except Exception as e:
        assert e.response.status_code == code, (e.response.status_code, e)
        return
    raise AssertionError("no error %d" % code)


registry = IoTHubRegistryManager.from_connection_string(sys.argv[1])
primary = base64.b64encode(b"a key of exactly 32 bytes, say it").decode()
secondary = base64.b64encode(b"another one of about 32 bytes....").decode()

made = registry.create_device_with_sas("py:1", primary, secondary, "enabled")
assert made.authentication.symmetric_key.primary_key == primary
fails(409, registry.create_device_with_sas, "py:1", primary, secondary, "enabled")
step("create with keys")

x = registry.create_device_with_x509("py-x", "AB" * 20, "CD" * 32, "disabled")
assert x.authentication.type == "selfSigned" and x.status == "disabled"
ca = registry.create_device_with_certificate_authority("py-ca", "enabled")
assert ca.authentication.type == "certificateAuthority"
step("create with certificates")

got = registry.get_device("py:1")
assert got.etag == made.etag and got.generation_id == made.generation_id
updated = registry.update_device_with_sas("py:1", got.etag, secondary, primary, "disabled", status_reason="test")
assert updated.status == "disabled" and updated.authentication.symmetric_key.primary_key == secondary
fails(412, registry.update_device_with_sas, "py:1", got.etag, primary, secondary, "enabled")
fails(404, registry.update_device_with_sas, "nobody", "x", primary, secondary, "enabled")
step("update")

assert sorted(d.device_id for d in registry.get_devices()) == ["py-ca", "py-x", "py:1"]
statistics = registry.get_device_registry_statistics()
assert (statistics.total_device_count, statistics.enabled_device_count, statistics.disabled_device_count) == (3, 1, 2)
assert registry.get_service_statistics().connected_device_count == 0
step("list and statistics")

key = AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=primary, secondary_key=secondary))
result = registry.bulk_create_or_update_devices(
    [ExportImportDevice(id="b1", import_mode="create", authentication=key, status="enabled"),
     ExportImportDevice(id="b2", import_mode="create", authentication=key, status="enabled")])
assert result.is_successful
step("bulk")

twin = registry.get_twin("py:1")
patched = registry.update_twin("py:1", Twin(tags={"site": "a"}, properties=TwinProperties(desired={"rate": 5})), twin.etag)
assert patched.tags == {"site": "a"} and patched.properties.desired["rate"] == 5
fails(412, registry.update_twin, "py:1", Twin(tags={"site": "b"}), twin.etag)
replaced = registry.replace_twin("py:1", Twin(properties=TwinProperties(desired={"only": 1})), patched.etag)
assert replaced.tags == {} and "rate" not in replaced.properties.desired
step("twin")

for device in ["py:1", "py-x", "py-ca", "b1", "b2"]:
    registry.delete_device(device)
fails(404, registry.get_device, "py:1")
fails(404, registry.delete_device, "py:1")
step("delete")
