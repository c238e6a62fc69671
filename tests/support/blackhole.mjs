// A way that swallows packets: nobody is told that a connection has ended, and what is sent is not even acknowledged. No
// program in between can do that, since its kernel answers for it, so a packet filter does, in a network namespace in
// which nothing else is.
import { spawnSync } from 'node:child_process';

const TABLE = ['inet', 'tickcast_blackhole'];

/** How a program gets a network of its own; who is not root is root there alone. */
const UNSHARE = ['unshare', '--net', ...(process.getuid?.() === 0 ? [] : ['--map-root-user'])];

/** Says in a process's environment that it is in one. */
const INSIDE = 'TICKCAST_NETWORK';

/** The command that runs another one in a network of its own. @param {string[]} command */
function alone(command) {
  return [...UNSHARE, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...command];
}

/** @param {string[]} command @param {string} [input] */
function run([program, ...args], input) {
  const { status, stderr, error } = spawnSync(program, args, { input, encoding: 'utf8' });
  return { ok: status === 0, why: error?.message ?? stderr };
}

/** True where this process is in a network of its own. */
export const isInside = Boolean(process.env[INSIDE]);

/** Why there can be none here: no rights, or no programs; nothing where there can be. @returns {string | undefined} */
export function whyNot() {
  const { ok, why } = run(alone(['nft', 'add', 'table', ...TABLE]));
  return ok ? undefined : `no network namespace with nftables: ${why.trim()}`;
}

/** The command and the environment that run a program of Node's in a network of its own. @param {string[]} args */
export function inside(args) {
  const [command, ...rest] = alone([process.execPath, ...args]);
  return { command, args: rest, env: { ...process.env, [INSIDE]: '1' } };
}

/** From now on packets to and from these ports are dropped. @param {number[]} ports */
export function swallow(ports) {
  if (!isInside) throw new Error('not in the network of the machine');
  const rules = ports.flatMap((port) => [`tcp dport ${port} drop`, `tcp sport ${port} drop`]);
  const table = `table ${TABLE.join(' ')}`;
  const { ok, why } = run(['nft', '-f', '-'], `${table} {}\ndelete ${table}\n${table} {
    chain in { type filter hook input priority 0;\n${rules.join('\n')}\n}\n}\n`);
  if (!ok) throw new Error(why);
}
