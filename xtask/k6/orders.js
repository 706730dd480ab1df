// Orders at a constant rate, as `rtcctl load --scenario shop --orders-only --wait-terminal` places them: the same shoppers,
// products and mix of lines. The rate is kept whatever the platform does (an open loop): there are enough virtual users that
// a slow answer holds up no other request, and `dropped_iterations` says if there were not.
//
// Written by hand for `cargo xtask bench compare`, which passes a file with tokens and products in SETUP.

import http from 'k6/http';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';

const setup = JSON.parse(open(__ENV.SETUP));
const accepted = new Counter('orders_accepted');
// With the time for a connection in it, which a caller waits for too.
const latency = new Trend('order_latency', true);

export const options = {
  discardResponseBodies: true,
  summaryTrendStats: ['med', 'p(50)', 'p(99)', 'max'],
  scenarios: {
    orders: {
      executor: 'constant-arrival-rate',
      rate: setup.rate,
      timeUnit: '1s',
      duration: `${setup.seconds}s`,
      preAllocatedVUs: setup.virtual_users,
      maxVUs: setup.virtual_users,
    },
  },
};

// The product at rank r is drawn in proportion to 1 / (r + 1).
const sums = [];
setup.products.reduce((sum, _, rank) => {
  sums.push(sum + 1 / (rank + 1));
  return sum + 1 / (rank + 1);
}, 0);

function product() {
  const point = Math.random() * sums[sums.length - 1];
  return sums.findIndex((sum) => sum > point);
}

// 60 % of the orders have one line, 30 % two, 10 % three; every fifth line has two pieces.
function lines() {
  const dice = Math.floor(Math.random() * 10);
  const wanted = dice <= 5 ? 1 : dice <= 8 ? 2 : 3;
  const chosen = new Set();
  for (let n = 0; n < wanted; n += 1) {
    chosen.add(product());
  }
  return [...chosen].map((rank) => ({
    product_id: setup.products[rank],
    quantity: Math.random() < 0.2 ? 2 : 1,
  }));
}

export default function () {
  const number = exec.scenario.iterationInTest;
  const token = setup.tokens[Math.floor(Math.random() * setup.tokens.length)];
  const answer = http.post(`${setup.url}/api/v1/orders?wait=terminal`, JSON.stringify({ lines: lines() }), {
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${token}`,
      'idempotency-key': `${setup.run}-${number}`,
    },
    tags: { name: 'orders' },
  });
  if (answer.status === 201 || answer.status === 202) {
    accepted.add(1);
  }
  latency.add(answer.timings.blocked + answer.timings.duration);
}
