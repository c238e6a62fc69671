// Loaded before Artillery. Told not to send telemetry (ARTILLERY_DISABLE_TELEMETRY) it still sends an event without
// content, and where there is no way out it waits some twelve seconds for that at the end of a run. This sends nothing.
/* global require */
'use strict';

class Nothing {
  capture() {}

  async shutdownAsync() {}
}

const id = require.resolve('posthog-node');
require.cache[id] = { id, filename: id, loaded: true, exports: { PostHog: Nothing } };
