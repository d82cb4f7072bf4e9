// Direct methods: from the service, and from module to module.
'use strict';

const w = require('../world');

const { assert, onGateway, within } = w;

/** A device that answers this method. */
async function answering(name, method, answer) {
  const deviceId = await w.device(name);
  const device = await w.opened(deviceId);
  device.onDeviceMethod(method, answer);
  await w.subscribed(device, 'methods');
  return { deviceId, device };
}

const echo = (request, response) => response.send(207, { name: request.methodName, echo: request.payload });

exports.method_of_a_device = async () => {
  const { deviceId } = await answering('meth', 'doIt', echo);
  const { status, payload } = await w.invoke(deviceId, 'doIt', { q: ['ü', 1, null] });
  assert.deepStrictEqual({ status, payload }, { status: 207, payload: { name: 'doIt', echo: { q: ['ü', 1, null] } } });
};

exports.method_of_a_module = async () => {
  const moduleId = await w.newModule('meth');
  const module = await w.openedModule(moduleId);
  module.onMethod('doIt', echo);
  await w.subscribed(module, 'methods');
  const { status, payload } = await w.invoke(w.edge, 'doIt', 'x', { moduleId });
  assert.deepStrictEqual({ status, payload }, { status: 207, payload: { name: 'doIt', echo: 'x' } });
};

exports.method_without_payload_gets_null = async () => {
  const { deviceId } = await answering('mnull', 'doIt', echo); // on an empty body the SDK itself answers 400
  assert.deepStrictEqual(await w.invoke(deviceId, 'doIt'), { status: 207, payload: { name: 'doIt', echo: null } });
  const body = JSON.stringify({ methodName: 'doIt', responseTimeoutInSeconds: 5 });
  const answer = await w.call('POST', `/twins/${deviceId}/methods?api-version=2021-04-12`, {
    headers: { 'Content-Type': 'application/json' }, body,
  });
  assert.deepStrictEqual(JSON.parse(answer.body), { status: 207, payload: { name: 'doIt', echo: null } });
};

exports.method_with_an_error_status = async () => {
  const { deviceId } = await answering('merr', 'fail', (request, response) => response.send(500, { why: 'broken' }));
  assert.deepStrictEqual(await w.invoke(deviceId, 'fail'), { status: 500, payload: { why: 'broken' } });
};

exports.method_answered_without_payload = async () => {
  const { deviceId } = await answering('mbare', 'bare', (request, response) => response.send(204));
  const { status, payload } = await w.invoke(deviceId, 'bare');
  assert.strictEqual(status, 204);
  assert.ok(payload === null || payload === undefined, JSON.stringify(payload));
};

exports.method_names_go_as_they_are = async () => {
  const name = 'do-it.now_1~(ä)!@=$'; // all that the SDK itself does not escape
  const { deviceId } = await answering('mname', name, echo);
  assert.strictEqual((await w.invoke(deviceId, name)).payload.name, name);
};

exports.method_payload_of_128_kib = async () => {
  const { deviceId } = await answering('mbig', 'doIt', echo);
  const big = 'x'.repeat(128 * 1024 - 100);
  const { payload } = await w.invoke(deviceId, 'doIt', big);
  assert.ok(payload.echo === big, 'the payload was altered');
};

exports.many_methods_at_once = async () => {
  const { deviceId } = await answering('mmany', 'doIt', async (request, response) => {
    await w.sleep((request.payload * 7) % 50); // answered in another order
    await response.send(200, request.payload);
  });
  const numbers = Array.from({ length: 40 }, (_, number) => number + 1);
  const got = await Promise.all(numbers.map((number) => w.invoke(deviceId, 'doIt', number)));
  assert.deepStrictEqual(got.map(({ payload }) => payload), numbers);
};

exports.method_that_nobody_answers_times_out = async () => {
  const { deviceId } = await answering('mslow', 'slow', () => {});
  const began = Date.now();
  const error = await w.failing(w.invoke(deviceId, 'slow', 1, { timeout: 5 }), 'GatewayTimeoutError');
  const took = Date.now() - began;
  assert.ok(took > 4000 && took < 9000, `after ${took} ms`);
  assert.strictEqual(JSON.parse(JSON.parse(error.responseBody).Message).errorCode, 504101);
};

exports.method_of_an_absent_device_is_not_found = async () => {
  const error = await w.failing(w.invoke(await w.device('mabsent'), 'doIt', 1, { timeout: 5 }), 'Error');
  assert.strictEqual(error.response.statusCode, 404);
  assert.strictEqual(JSON.parse(JSON.parse(error.responseBody).Message).errorCode, 404103); // JSON in JSON, as IoT Hub says it
};

exports.method_waits_for_a_device_that_comes = async () => {
  const deviceId = await w.device('mcomes');
  const called = w.invoke(deviceId, 'doIt', 1, { connect: 20, timeout: 10 });
  called.catch(() => {});
  await w.sleep(1000);
  const device = await w.client(deviceId);
  device.onDeviceMethod('doIt', echo);
  assert.strictEqual((await within(20, called)).payload.echo, 1);
};

exports.late_method_answers_are_ignored = async () => {
  let late;
  const { deviceId, device } = await answering('mlate', 'late', (request, response) => { late = response; });
  device.onDeviceMethod('doIt', echo);
  await w.invoke(deviceId, 'late', 1, { timeout: 5 }).then(() => assert.fail('answered'), () => {});
  await within(10, late.send(200, 'too late'));
  assert.strictEqual((await w.invoke(deviceId, 'doIt', 'next')).payload.echo, 'next');
};

/** A caller made by the environment, a module that answers. */
async function calling(name) {
  const [caller, callee] = [await w.newModule(`${name}-a`), await w.newModule(`${name}-b`)];
  const module = await w.openedModule(callee);
  module.onMethod('doIt', echo);
  await w.subscribed(module, 'methods');
  return { callee, caller: await w.fromEnvironment(caller) };
}

const times = { responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 2 };

exports.method_from_module_to_module = onGateway(async () => {
  const { caller, callee } = await calling('m2m');
  const got = await within(15, caller.invokeMethod(w.edge, callee, { methodName: 'doIt', payload: { x: 1 }, ...times }));
  assert.deepStrictEqual(got, { status: 207, payload: { name: 'doIt', echo: { x: 1 } } });
});

exports.method_from_module_to_device = onGateway(async () => {
  const { caller } = await calling('m2d');
  const { deviceId } = await answering('m2d', 'doIt', echo);
  const got = await within(15, caller.invokeMethod(deviceId, { methodName: 'doIt', payload: null, ...times }));
  assert.deepStrictEqual(got, { status: 207, payload: { name: 'doIt', echo: null } });
});

exports.method_from_module_to_an_absent_module_is_not_found = onGateway(async () => {
  const { caller } = await calling('m2n');
  const params = { methodName: 'doIt', payload: 1, ...times, connectTimeoutInSeconds: 0 };
  const error = await w.failing(caller.invokeMethod(w.edge, 'nobody', params), 'Error');
  assert.strictEqual(error.response.statusCode, 404);
  assert.strictEqual(JSON.parse(JSON.parse(error.responseBody).Message).errorCode, 404103);
});
