# Sessions are encrypted with a key of ours and written down while they go on.

resource "aws_cloudwatch_log_group" "sessions" {
  name              = "/rtc/${var.name}/sessions"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_ssm_document" "session" {
  name            = "${var.name}-session"
  document_type   = "Session"
  document_format = "JSON"
  content = jsonencode({
    schemaVersion = "1.0"
    description   = "Shell whose input and output are written down"
    sessionType   = "Standard_Stream"
    inputs = {
      cloudWatchLogGroupName      = aws_cloudwatch_log_group.sessions.name
      cloudWatchEncryptionEnabled = true
      cloudWatchStreamingEnabled  = true
      kmsKeyId                    = var.data_key_arn
      idleSessionTimeout          = "20"
      maxSessionDuration          = "240"
    }
  })
}
