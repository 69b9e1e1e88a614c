// The peer that most forces could run today: tus-node-server with its file store, as its documentation shows it.
// Usage: node tus-node.mjs FOLDER PORT, with NODE_PATH naming where the packages are.
import { createRequire } from 'node:module'

const require = createRequire(process.env.EXHIBIT_NPM + '/package.json')
const { Server } = require('@tus/server')
const { FileStore } = require('@tus/file-store')

const [folder, port] = process.argv.slice(2)
const server = new Server({ path: '/tus', datastore: new FileStore({ directory: folder }) })
server.listen({ host: '127.0.0.1', port: Number(port) })
