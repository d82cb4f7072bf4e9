// Scenarios with the Node SDKs as npm has them, against localhub or an edge gateway. See scripts/node-suite.sh.
//
//   node main.js --gateway 127.0.0.13 --ca ca.pem --owner 'HostName=…;SharedAccessKeyName=…;SharedAccessKey=…'
//        --edge-device e1        an existing edge device
//        --workload-uri unix:///workload.sock
//        --x509 PREFIX --x509-thumb HEX     PREFIX.pem and PREFIX.key, a self-signed client certificate
//        --restart 'command'     restarts the server under test and returns when it is ready
//        [--only part,part] [--skip part,part]
//
// With --gateway the hub itself, the scenarios that need an edge gateway are left out.
// Each prints `ok NAME` or `FAIL NAME why`; the last line is `N passed, M failed`; exit status 1 when one failed.
'use strict';

const world = require('./world');

const scenarios = ['connect', 'telemetry', 'modules', 'twins', 'methods', 'devicebound', 'sessions', 'service']
  .flatMap((file) => Object.entries(require(`./scenarios/${file}`)));

// An error that nobody awaits would end an application: it fails the scenario in which it comes.
let stray = () => {};
process.on('uncaughtException', (error) => stray(error));
process.on('unhandledRejection', (error) => stray(error));

const chosen = (name, list, otherwise) => (list ? list.split(',').some((part) => name.includes(part)) : otherwise);

async function main() {
  const { only, skip } = world.options;
  await world.setUp();
  let passed = 0;
  let failed = 0;
  for (const [name, scenario] of scenarios) {
    if (!chosen(name, only, true) || chosen(name, skip, false)) continue;
    if (scenario.gatewayOnly && !world.isGateway) continue;
    const began = Date.now();
    const outside = new Promise((_, reject) => { stray = reject; });
    outside.catch(() => {});
    try {
      await Promise.race([scenario(), outside, world.late(120, 'the scenario')]);
      passed += 1;
      console.log(`ok ${name} ${((Date.now() - began) / 1000).toFixed(1)} s`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name} ${String(error && error.message).slice(0, 400).replace(/\s+/g, ' ')}`);
      console.error(name, error);
    }
    await world.closeAll();
  }
  await world.tearDown();
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed || !passed ? 1 : 0);
}

main().catch((error) => {
  console.error(error);
  console.log('0 passed, 1 failed');
  process.exit(1);
});
