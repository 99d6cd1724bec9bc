// Loaded before a client that believes it dials WhatsApp: should the relay's preload fail, it goes nowhere.
'use strict'
const { Socket } = require('node:net')
const { connect } = Socket.prototype
Socket.prototype.connect = function (...given) {
	const [first, second] = Array.isArray(given[0]) ? given[0] : given
	const options = typeof first === 'object' ? first : { host: second }
	if (!options.path && !['127.0.0.1', 'localhost', '::1', undefined].includes(options.host)) {
		throw new Error(`a test must not leave this machine, and this one went to ${options.host}`)
	}
	return Reflect.apply(connect, this, given)
}
