// Runs in every worker thread before the program's code.

'use strict';

const { installProcessId } = require('./process-id.cjs');
const { installRandom } = require('./random.cjs');
const { hidePreload, installThreads } = require('./threads.cjs');
const { installTimeOrigin } = require('./clock.cjs');

installProcessId();
installRandom();
installTimeOrigin();
installThreads();
hidePreload();
