// Modules of the edge device: outputs, inputs, routes between them, the environment of a container.
'use strict';

const { Message } = require('azure-iot-common');
const { MqttWs } = require('azure-iot-device-mqtt');
const w = require('../world');

const { assert, onGateway, within } = w;

/** Two modules, a route from one's `out` to the other's `in`, and from `up` to the hub. */
async function pair(name) {
  const [from, to] = [await w.newModule(`${name}-a`), await w.newModule(`${name}-b`)];
  await w.routes({
    forward: `FROM /messages/modules/${from}/outputs/out INTO BrokeredEndpoint("/modules/${to}/inputs/in")`,
    up: `FROM /messages/modules/${from}/outputs/up INTO $upstream`,
  });
  return [from, to];
}

function inputs(module) {
  const got = [];
  module.on('inputMessage', (input, message) => got.push({ input, body: message.getData().toString(), message }));
  return got;
}

const properties = (message) => Object.fromEntries(message.properties.propertyList.map(({ key, value }) => [key, value]));

exports.module_telemetry_and_outputs_reach_the_hub = async () => {
  const [from] = await pair('up');
  const since = await w.mark();
  const module = await w.openedModule(from);
  const message = new Message('{"t":1}');
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('k ü', 'v/1');
  message.properties.add('empty', '');
  await within(10, module.sendOutputEvent('up', message));
  const [got] = await w.telemetry(since, { deviceId: w.edge, moduleId: from });
  assert.strictEqual(got.body.toString(), '{"t":1}');
  assert.deepStrictEqual(got.app, { 'k ü': 'v/1', empty: '' }); // the SDK adds a slash behind the bag
  assert.strictEqual(got.system.ct, 'application/json');
};

exports.output_to_input_with_properties = onGateway(async () => {
  const [from, to] = await pair('oi');
  const [sender, receiver] = [await w.openedModule(from), await w.openedModule(to)];
  const got = inputs(receiver);
  await w.subscribed(receiver, 'inputs');
  const message = new Message('{"v":1}');
  Object.assign(message, { messageId: 'm/1', correlationId: 'c 1', contentType: 'application/json', contentEncoding: 'utf-8' });
  const app = { 'k ü': 'v/1 =&?+%', empty: '', last: 'ends in a slash/' };
  for (const [name, value] of Object.entries(app)) message.properties.add(name, value);
  await within(10, sender.sendOutputEvent('out', message));
  await w.eventually(() => got.length, 'the input comes');
  const [{ input, body, message: received }] = got;
  assert.deepStrictEqual({ input, body }, { input: 'in', body: '{"v":1}' });
  const { messageId, correlationId, contentType, contentEncoding } = received;
  assert.deepStrictEqual({ messageId, correlationId, contentType, contentEncoding }, {
    messageId: 'm/1', correlationId: 'c 1', contentType: 'application/json', contentEncoding: 'utf-8',
  });
  const { '$.cdid': cdid, '$.cmid': cmid, ...rest } = properties(received);
  assert.deepStrictEqual(rest, app);
  assert.deepStrictEqual([cdid, cmid], [w.edge, from]);
});

exports.input_without_properties = onGateway(async () => {
  const [from, to] = await pair('bare');
  const [sender, receiver] = [await w.openedModule(from), await w.openedModule(to)];
  const got = inputs(receiver);
  await w.subscribed(receiver, 'inputs');
  await within(10, sender.sendOutputEvent('out', new Message('bare')));
  await w.eventually(() => got.length, 'the input comes');
  assert.strictEqual(got[0].body, 'bare');
});

exports.inputs_in_order = onGateway(async () => {
  const [from, to] = await pair('order');
  const [sender, receiver] = [await w.openedModule(from), await w.openedModule(to)];
  const got = inputs(receiver);
  await w.subscribed(receiver, 'inputs');
  const numbers = Array.from({ length: 200 }, (_, number) => String(number));
  await within(30, Promise.all(numbers.map((number) => sender.sendOutputEvent('out', new Message(number)))));
  await w.eventually(() => got.length >= numbers.length, 'all come');
  await w.sleep(300);
  assert.deepStrictEqual(got.map(({ body }) => body), numbers);
});

exports.input_of_256_kib = onGateway(async () => {
  const [from, to] = await pair('big');
  const [sender, receiver] = [await w.openedModule(from), await w.openedModule(to)];
  const got = inputs(receiver);
  await w.subscribed(receiver, 'inputs');
  const big = 'x'.repeat(256 * 1024);
  await within(20, sender.sendOutputEvent('out', new Message(big)));
  await w.eventually(() => got.length, 'the input comes');
  assert.ok(got[0].body === big, 'the body was altered');
});

exports.inputs_kept_while_the_module_is_away = onGateway(async () => {
  const [from, to] = await pair('away');
  const [sender, receiver] = [await w.openedModule(from), await w.openedModule(to)];
  inputs(receiver);
  await w.subscribed(receiver, 'inputs');
  await within(10, receiver.close());
  for (const number of ['0', '1', '2', '3', '4']) await within(10, sender.sendOutputEvent('out', new Message(number)));
  const back = await w.client(w.edge, { moduleId: to }); // a new process: it opens, then sets its handler
  await within(10, back.open());
  const got = inputs(back);
  await w.eventually(() => got.length >= 5, 'what was kept comes');
  await w.sleep(300);
  assert.deepStrictEqual(got.map(({ body }) => body), ['0', '1', '2', '3', '4']);
});

exports.output_without_a_route_is_acknowledged_and_ends = onGateway(async () => {
  const [from, to] = await pair('none');
  const since = await w.mark();
  const [sender, receiver] = [await w.openedModule(from), await w.openedModule(to)];
  const got = inputs(receiver);
  await w.subscribed(receiver, 'inputs');
  await within(10, sender.sendOutputEvent('nowhere', new Message('lost')));
  await within(10, sender.sendOutputEvent('out', new Message('found')));
  await w.eventually(() => got.length, 'the routed one comes');
  assert.deepStrictEqual(got.map(({ body }) => body), ['found']);
  assert.deepStrictEqual((await w.tap(since)).items.filter(({ moduleId }) => moduleId === from), []);
});

exports.from_environment = onGateway(async () => {
  const [from] = await pair('env');
  const module = await w.fromEnvironment(from);
  const since = await w.mark();
  await within(10, module.open());
  assert.ok((await within(10, module.getTwin())).properties.desired.$version);
  await within(10, module.sendOutputEvent('up', new Message('from the environment')));
  const [got] = await w.telemetry(since, { moduleId: from });
  assert.strictEqual(got.body.toString(), 'from the environment');
});

exports.from_environment_over_websockets = onGateway(async () => {
  const [from] = await pair('envws');
  const module = await w.fromEnvironment(from, MqttWs);
  await within(10, module.open());
  await within(10, module.sendOutputEvent('up', new Message('hello')));
});

exports.from_environment_renews_its_token = onGateway(async () => {
  const moduleId = await w.newModule('envrenew');
  const module = await w.fromEnvironment(moduleId);
  await module.setOptions({ ca: w.ca, tokenRenewal: { tokenValidTimeInSeconds: 6, tokenRenewalMarginInSeconds: 4 } });
  module.onMethod('ping', (request, response) => response.send(200, 'pong'));
  await w.subscribed(module, 'methods');
  const first = w.wire(module);
  await w.eventually(() => w.wire(module) !== first && w.wire(module).connected, 'it connects with a new token');
  await w.sleep(6000); // past the first token's end
  // A call that meets one of the renewals, every 2 s, may be lost with the connection that it went to; it is not sent twice.
  const lost = (why) => { if (!/504101/.test(String(why.responseBody || why.message))) throw why; };
  const ping = () => w.invoke(w.edge, 'ping', 1, { moduleId, connect: 5 }).catch(lost);
  assert.strictEqual((await w.eventually(ping, 'a call is answered', 30)).payload, 'pong');
});
