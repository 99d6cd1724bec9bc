import * as baileys from 'baileys'
import P from 'pino'

export const state = { connection: 'close' }
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export async function connect() {
  const auth = await baileys.useMultiFileAuthState('auth')
  const logger = P({ level: 'silent' })
  const sock = baileys.makeWASocket({
    auth: { creds: auth.state.creds, keys: baileys.makeCacheableSignalKeyStore(auth.state.keys, logger) },
    logger,
    keepAliveIntervalMs: 10_000,
    markOnlineOnConnect: false,
  })
  sock.ev.on('creds.update', auth.saveCreds)
  sock.ev.on('messages.upsert', answer(sock))
  sock.ev.on('connection.update', async (update) => {
    state.connection = update.connection ?? state.connection
    if (update.connection === 'close') {
      const code = update.lastDisconnect?.error?.output?.statusCode
      if (code === baileys.DisconnectReason.loggedOut) throw new Error('logged out')
      await wait(code === baileys.DisconnectReason.restartRequired ? 0 : 3000)
      connect()
    }
  })
}

const answer = (sock) => async ({ messages, type }) => {
  for (const received of messages) {
    if (type !== 'notify' || received.key.fromMe) continue
    const words = (received.message?.conversation ?? received.message?.extendedTextMessage?.text ?? '').split(' ')
    if (words.shift() !== '!ping') continue
    await sock.readMessages([received.key])
    await sock.sendMessage(received.key.remoteJid, { text: ['pong', ...words].join(' ') }, { quoted: received })
  }
}
