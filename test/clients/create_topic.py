"""Makes a topic: create_topic.py HOST:PORT NAME PARTITIONS.

Nothing but the standard library, so that kcat can be tested alone. With
USER_NAME and USER_PASSWORD in the environment it logs in with SCRAM-SHA-256.
"""

import base64
import hashlib
import hmac
import os
import socket
import struct
import sys


def text(s):
    b = s.encode()
    return struct.pack(">h", len(b)) + b


class Connection:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 10)
        self.file = self.socket.makefile("rb")

    def ask(self, key, version, body):
        head = struct.pack(">hhi", key, version, 1) + text("create_topic")
        self.socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        (size,) = struct.unpack(">i", self.file.read(4))
        return self.file.read(size)[4:]

    def authenticate(self, message):
        body = self.ask(36, 0, struct.pack(">i", len(message)) + message)
        code, length = struct.unpack(">hh", body[:4])
        if code:
            sys.exit("login: %s" % body[4 : 4 + length].decode())
        at = 4 + max(length, 0)
        (length,) = struct.unpack(">i", body[at : at + 4])
        return body[at + 4 : at + 4 + length]

    def login(self, user, password):
        mechanism = text("SCRAM-SHA-256")
        if self.ask(17, 1, mechanism)[:2] != b"\0\0":
            sys.exit("the mechanism is not offered")
        name = user.replace("=", "=3D").replace(",", "=2C")
        bare = "n=%s,r=%s" % (name, os.urandom(12).hex())
        first = self.authenticate(("n,," + bare).encode()).decode()
        nonce, salt, count = (part[2:] for part in first.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(count))
        key = hmac.digest(salted, b"Client Key", "sha256")
        unproven = "c=biws,r=" + nonce
        auth = ",".join((bare, first, unproven)).encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), auth, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        final = self.authenticate((unproven + ",p=" + proof).encode()).decode()
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth, "sha256")
        if final != "v=" + base64.b64encode(server).decode():
            sys.exit("the broker does not know the password")


def main():
    address, name, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3])
    connection = Connection(address)
    if os.environ.get("USER_NAME"):
        connection.login(os.environ["USER_NAME"], os.environ["USER_PASSWORD"])
    topic = text(name) + struct.pack(">ihii", partitions, 1, 0, 0)
    # CreateTopics version 2: topics, time-out, validate only.
    body = connection.ask(19, 2, struct.pack(">i", 1) + topic + struct.pack(">i?", 10000, False))
    (code,) = struct.unpack(">h", body[10 + len(name) : 12 + len(name)])
    if code:
        sys.exit("create %s: error %d" % (name, code))


main()
