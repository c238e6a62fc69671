/** Programs that connect to this very server, to be copied: complete, and run as they are by the tests. */

/**
 * @typedef {object} Server
 * @property {string} origin
 * @property {string} path of Socket.IO, with a slash at its end
 * @property {string} base of the page, with a slash at its end
 * @property {string} tickEvent
 * @property {boolean} withToken whether it asks for a token, as far as the page knows: then it is read from `TICKCAST_TOKEN`
 */

/** `needs` with all that goes before the program's call in a shell. @typedef {{name: string, file: string, needs: (env: string) => string, code: (server: Server) => string}} Snippet */

/** @param {string} text as a literal in any of these languages */
const quoted = (text) => JSON.stringify(text);

/** How a program is called that shows a token. @param {boolean} withToken */
export const environment = (withToken) => (withToken ? 'TICKCAST_TOKEN=eyJ… ' : '');

/** @type {readonly Snippet[]} */
export const SNIPPETS = [
  {
    name: 'JavaScript',
    file: 'feed.mjs',
    needs: (env) => `npm install socket.io-client, then ${env}node feed.mjs`,
    code: ({ origin, path, tickEvent, withToken }) => `import { io } from 'socket.io-client';

const socket = io(${quoted(origin)}${javaScriptOptions(path, withToken)});
socket.on('connect', () => socket.emit('subscribe', '*'));
socket.on(${quoted(tickEvent)}, ({ symbol, price }) => console.log(symbol, price));
socket.on('connect_error', ({ message }) => console.error(message));
`,
  },
  {
    name: 'Python',
    file: 'feed.py',
    needs: (env) => `pip install "python-socketio[asyncio_client]", then ${env}python3 feed.py`,
    code: ({ origin, path, tickEvent, withToken }) => `import asyncio
${withToken ? 'import os\n' : ''}import socketio

client = socketio.AsyncClient()


@client.event
async def connect():
    await client.emit("subscribe", "*")


@client.on(${quoted(tickEvent)})
async def tick(tick):
    print(tick["symbol"], tick["price"], flush=True)


async def main():
    await client.connect(${quoted(origin)}, socketio_path=${quoted(path.replace(/^\/|\/$/g, ''))}${
      withToken ? ',\n                         auth={"token": os.environ["TICKCAST_TOKEN"]}' : ''})
    await client.wait()


asyncio.run(main())
`,
  },
  {
    name: 'curl',
    file: 'feed.sh',
    needs: (env) => `Socket.IO by hand: long polling, with nothing but a shell and curl${env && `, then ${env}sh feed.sh`}`,
    code: ({ origin, path, withToken }) => `#!/bin/sh
url=${shell(`${origin}${path}?EIO=4&transport=polling`)}
sid=$(curl -sSf "$url" | sed 's/.*"sid":"\\([^"]*\\)".*/\\1/')
send() { curl -sSf -H 'Content-Type: text/plain' --data-binary "$1" "$url&sid=$sid" > /dev/null; }
${withToken ? 'send "40{\\"token\\":\\"$TICKCAST_TOKEN\\"}" ' : 'send 40                                 '}   # join the default namespace
send '42["subscribe","*"]'
while packets=$(curl -sSf "$url&sid=$sid"); do
  printf '%s' "$packets" | tr '\\036' '\\n' | while read -r packet; do
    case $packet in
      2) send 3 ;;                         # the heartbeat: a pong for each ping
      *) printf '%s\\n' "$packet" ;;        # 42["tick",{...}] is a tick
    esac
  done
done
`,
  },
  {
    name: 'Rust',
    file: 'src/main.rs',
    needs: (env) => `Socket.IO by hand, over a WebSocket: cargo add tungstenite --features native-tls, then ${env}cargo run`,
    code: ({ origin, path, withToken }) => `use tungstenite::{Message, connect};

fn main() -> Result<(), Box<dyn std::error::Error>> {
${withToken ? `    let join = format!(r#"40{{"token":"{}"}}"#, std::env::var("TICKCAST_TOKEN")?);
` : ''}    let (mut socket, _) = connect(${quoted(`${origin.replace(/^http/, 'ws')}${path}?EIO=4&transport=websocket`)})?;
    loop {
        let Message::Text(packet) = socket.read()? else { continue };
        match packet.as_str() {
            "2" => socket.send("3".into())?, // the heartbeat: a pong for each ping
            open if open.starts_with('0') => socket.send(${withToken ? 'join.as_str()' : '"40"'}.into())?, // join the default namespace
            joined if joined.starts_with("40") => socket.send(r#"42["subscribe","*"]"#.into())?,
            tick => println!("{tick}"),
        }
    }
}
`,
  },
];

/** @param {string} path @param {boolean} withToken */
function javaScriptOptions(path, withToken) {
  const options = [
    ...(path === '/socket.io/' ? [] : [`path: ${quoted(path)}`]),
    ...(withToken ? ['auth: { token: process.env.TICKCAST_TOKEN }'] : []),
  ];
  return options.length > 0 ? `, { ${options.join(', ')} }` : '';
}

/** @param {string} text */
function shell(text) {
  return `'${text.replaceAll('\'', '\'\\\'\'')}'`;
}
