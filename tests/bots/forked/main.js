'use strict'
const fs = require('fs')

async function main() {
  const { default: makeWASocket, useMultiFileAuthState, DisconnectReason, delay } = await import('baileys')
  const pino = require('pino')
  if (!fs.existsSync('sessions')) fs.mkdirSync('sessions')
  const { state, saveCreds } = await useMultiFileAuthState('sessions')
  const sock = makeWASocket({ auth: state, logger: pino({ level: 'silent' }), browser: ['Forked', 'Chrome', '1.0'] })
  sock.ev.process(async (events) => {
    if (events['creds.update']) await saveCreds()
    const update = events['connection.update']
    if (update?.connection === 'open') console.log('main.js is connected')
    if (update?.connection === 'close') {
      const code = update.lastDisconnect?.error?.output?.statusCode
      console.log('closed with', code)
      // Leaves it to index.js to connect again.
      await delay(200)
      process.exit(code === DisconnectReason.loggedOut ? 2 : 1)
    }
    for (const { key, message } of events['messages.upsert']?.type === 'notify' ? events['messages.upsert'].messages : []) {
      const text = message?.conversation || message?.extendedTextMessage?.text || ''
      if (key.fromMe || !text.startsWith('!ping')) continue
      await sock.sendMessage(key.remoteJid, { text: text.replace('!ping', 'pong') }, {})
    }
  })
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
