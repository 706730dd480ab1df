output "instance_id" {
  description = "The machine."
  value       = aws_instance.this.id
}

output "instance_arn" {
  description = "ARN of the machine."
  value       = aws_instance.this.arn
}

output "role_arn" {
  description = "What Jenkins is in AWS."
  value       = aws_iam_role.this.arn
}

output "session_document" {
  description = "Session Manager document that writes sessions down."
  value       = aws_ssm_document.session.name
}

output "log_group" {
  description = "Log group of the sessions."
  value       = aws_cloudwatch_log_group.sessions.name
}
