// A Node module with the unmodified Azure IoT SDK: sends a counter to `output1` every PERIOD
// seconds, echoes every input to `echo`, reports what is desired, answers the method `ping`.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { Message, ModuleClient } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const PERIOD = Number(process.env.PERIOD || '5') * 1000;
const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => stop.abort());
const pause = (ms) => sleep(ms, undefined, { signal: stop.signal }).catch(() => {});

async function connect() {
  for (;;) {
    try {
      const client = await ModuleClient.fromEnvironment(Mqtt);
      await client.open();
      return client;
    } catch (error) { // the hub may not be there yet: a module waits for it
      console.log(`not connected: ${error}; trying again in 2 s`);
      await pause(2000);
      if (stop.signal.aborted) process.exit(0);
    }
  }
}

async function main() {
  const client = await connect();
  client.on('error', (error) => console.log(`error: ${error}`));
  client.on('inputMessage', async (input, message) => {
    const properties = message.properties.propertyList;
    console.log(`input ${input}: ${message.getData()} ${JSON.stringify(properties)}`);
    const echo = new Message(message.getData());
    for (const { key, value } of properties) if (!key.startsWith('$')) echo.properties.add(key, value);
    await client.sendOutputEvent('echo', echo).catch((error) => console.log(`not echoed: ${error}`));
  });
  let count = 0;
  client.onMethod('ping', (request, response) => response.send(200, { count, payload: request.payload }));
  const twin = await client.getTwin();
  console.log(`connected; desired: ${JSON.stringify(twin.properties.desired)}`);
  const report = (patch) => twin.properties.reported.update(patch, (error) => error && console.log(`not reported: ${error}`));
  twin.on('properties.desired', (patch) => { // comes at once with what is desired now
    console.log(`desired: ${JSON.stringify(patch)}`);
    report({ echo: Object.fromEntries(Object.entries(patch).filter(([key]) => !key.startsWith('$'))) });
  });
  report({ node: process.version });
  for (await pause(PERIOD); !stop.signal.aborted; await pause(PERIOD)) {
    const message = new Message(JSON.stringify({ count: count + 1, time: Date.now() / 1000 }));
    Object.assign(message, { contentType: 'application/json', contentEncoding: 'utf-8' });
    message.properties.add('count', String(count + 1));
    await client.sendOutputEvent('output1', message).then(() => { count += 1; }, (error) => console.log(`not sent: ${error}`));
  }
  console.log(`stopping after ${count} messages`);
  process.exit(0);
}

main();
