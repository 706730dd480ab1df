# Queues to the world outside, such as drivers' notifications. What fails too often is put aside, never dropped.

resource "aws_sqs_queue" "dead" {
  for_each = var.queues

  name                              = "${var.name}-${each.key}-DLQ"
  message_retention_seconds         = 1209600
  receive_wait_time_seconds         = each.value.long_poll_s
  kms_master_key_id                 = var.key_arn
  kms_data_key_reuse_period_seconds = 300
}

resource "aws_sqs_queue" "this" {
  for_each = var.queues

  name                              = "${var.name}-${each.key}"
  visibility_timeout_seconds        = each.value.visibility_s
  receive_wait_time_seconds         = each.value.long_poll_s
  message_retention_seconds         = each.value.retention_s
  max_message_size                  = each.value.message_bytes_max
  kms_master_key_id                 = var.key_arn
  kms_data_key_reuse_period_seconds = 300
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[each.key].arn
    maxReceiveCount     = each.value.attempts
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  for_each = var.queues

  queue_url = aws_sqs_queue.dead[each.key].id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this[each.key].arn]
  })
}

resource "aws_sqs_queue_policy" "tls" {
  for_each = merge(
    { for name, queue in aws_sqs_queue.this : name => { id = queue.id, arn = queue.arn } },
    { for name, queue in aws_sqs_queue.dead : "${name}-DLQ" => { id = queue.id, arn = queue.arn } },
  )

  queue_url = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "sqs:*"
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
