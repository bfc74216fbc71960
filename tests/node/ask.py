#!/usr/bin/env python3
"""Asks a DNS server at a steady rate over UDP and says what got no answer at all.

  ask.py SERVER SECONDS RATE new|kept

new: each query from the next port, as resolvers of C libraries do (a port comes again after 30,000
queries, when no proxy remembers it). kept: from ten ports that stay the same, as caches do that have
pools. Prints one line; the exit status says whether all were answered.

An answer that comes from another address than SERVER's is one that a server gave and that the proxy
did not translate back, because it had cut the flow while the answer was under way. A client can't take
it: with new it counts as lost. With kept it is counted by itself, as what the proxy lost and no server.
"""
import select, socket, struct, sys, time

server, seconds, rate, ports = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
# Seconds: on a busy machine late is not lost.
PATIENCE = 30

def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"

# A Service, a Service's second name, and a name that does not exist (rcode 3).
NAMES = [(encoded("web.default.svc.cluster.local"), 0), (encoded("kubernetes.default.svc.cluster.local"), 0),
         (encoded("nobody.default.svc.cluster.local"), 3)]
poll = select.epoll()
kept, waiting, lost, cut, slowest = [], {}, [], [], 0.0

def opened(port):
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Not connected: such a socket would hide what comes from another address.
    found.bind(("0.0.0.0", port))
    found.setblocking(False)
    poll.register(found, select.EPOLLIN)
    return found

def take(number):
    """Reads what has come in on a socket."""
    global slowest
    source = sources[number]
    while True:
        try:
            reply, (address, _) = source.recvfrom(2048)
        except BlockingIOError:
            return
        query = waiting.pop((number, reply[:2]), None)
        if query:
            if address != server:
                (cut if ports == "kept" else lost).append((query[0], "answered by %s, whose flow was cut" % address))
            elif reply[3] & 15 != query[1]:
                lost.append((query[0], "rcode %d" % (reply[3] & 15)))
            slowest = max(slowest, time.time() - query[0])
        if ports == "new":
            poll.unregister(source)
            sources.pop(number).close()
            return

sources = {}
if ports == "kept":
    for _ in range(10):
        found = opened(0)
        sources[found.fileno()] = found
    kept = list(sources)

start, sent = time.time(), 0
while time.time() - start < seconds:
    name, rcode = NAMES[sent % len(NAMES)]
    query = struct.pack("!HHHHHH", sent % 65536, 0x100, 1, 0, 0, 0) + name + b"\0\1\0\1"
    if ports == "new":
        found = opened(2000 + sent % 30000)
        number = found.fileno()
        sources[number] = found
    else:
        number = kept[sent % len(kept)]
    waiting[(number, query[:2])] = (time.time(), rcode)
    sources[number].sendto(query, (server, 53))
    sent += 1
    while True:
        left = start + sent / rate - time.time()
        for number, _ in poll.poll(max(0, left)):
            take(number)
        if left <= 0:
            break
end = time.time() + PATIENCE
while waiting and time.time() < end:
    for number, _ in poll.poll(0.1):
        take(number)
lost += [(when, "no answer to query %d from port %d" % (int.from_bytes(key[1], "big"), sources[key[0]].getsockname()[1]))
         for key, (when, _) in waiting.items()]
print("%d queries from %s ports, %d lost, %d cut by the proxy, the slowest took %.1f ms"
      % (sent, ports, len(lost), len(cut), slowest * 1e3))
for when, what in sorted(lost + cut)[:8]:
    print("  %s.%03d %s" % (time.strftime("%T", time.localtime(when)), when % 1 * 1000, what))
sys.exit(bool(lost))
