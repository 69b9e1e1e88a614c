// The peer with a bucket: tus-node-server with its S3 store, as its documentation shows it. The environment says where
// the bucket is, and with which credentials.
// Usage: node tus-s3.mjs PORT, with EXHIBIT_NPM naming where the packages are.
import { createRequire } from 'node:module'

const require = createRequire(process.env.EXHIBIT_NPM + '/package.json')
const { Server } = require('@tus/server')
const { S3Store } = require('@tus/s3-store')

const datastore = new S3Store({
  partSize: 8 * 1024 * 1024,
  s3ClientConfig: {
    bucket: process.env.S3_BUCKET,
    endpoint: process.env.S3_ENDPOINT,
    region: process.env.AWS_REGION,
    forcePathStyle: true,
  },
})
const server = new Server({ path: '/tus', datastore })
server.listen({ host: '127.0.0.1', port: Number(process.argv[2]) })
