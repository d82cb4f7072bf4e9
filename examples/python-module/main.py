"""A Python module with the unmodified Azure IoT SDK: sends a counter to `output1` every PERIOD
seconds, echoes every input to `echo`, reports what is desired, answers the method `ping`."""
import json
import os
import platform
import signal
import threading
import time

from azure.iot.device import IoTHubModuleClient, Message, MethodResponse

PERIOD = float(os.environ.get("PERIOD", "5"))


def main():
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    count = 0
    client = IoTHubModuleClient.create_from_edge_environment()

    def on_input(message):
        print(f"input {message.input_name}: {message.data!r} {message.custom_properties}", flush=True)
        echo = Message(message.data)
        echo.custom_properties = message.custom_properties
        client.send_message_to_output(echo, "echo")

    def on_desired(patch):
        print(f"desired: {json.dumps(patch)}", flush=True)
        client.patch_twin_reported_properties({"echo": {k: v for k, v in patch.items() if k[0] != "$"}})

    def on_method(request):
        known = request.name == "ping"
        answer = {"count": count, "payload": request.payload} if known else {"unknown": request.name}
        client.send_method_response(MethodResponse.create_from_method_request(request, 200 if known else 404, answer))

    client.on_message_received = on_input
    client.on_method_request_received = on_method
    client.on_twin_desired_properties_patch_received = on_desired
    while not stop.is_set():
        try:
            client.connect()
            break
        except Exception as error:  # the hub may not be there yet: a module waits for it
            print(f"not connected: {error!r}; trying again in 2 s", flush=True)
            stop.wait(2)
    if not stop.is_set():
        twin = client.get_twin()
        print(f"connected; desired: {json.dumps(twin['desired'])}", flush=True)
        client.patch_twin_reported_properties({"python": platform.python_version()})
    while not stop.wait(PERIOD):
        message = Message(json.dumps({"count": count + 1, "time": time.time()}))
        message.content_type, message.content_encoding = "application/json", "utf-8"
        message.custom_properties["count"] = str(count + 1)
        try:
            client.send_message_to_output(message, "output1")
            count += 1
        except Exception as error:  # the SDK reconnects; this reading is sent again
            print(f"not sent: {error!r}", flush=True)
    print(f"stopping after {count} messages", flush=True)
    client.shutdown()


main()
