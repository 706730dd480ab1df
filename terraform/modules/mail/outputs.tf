output "domain" {
  description = "Domain that mail comes from."
  value       = aws_sesv2_email_identity.this.email_identity
}

output "identity_arn" {
  description = "ARN of the identity."
  value       = aws_sesv2_email_identity.this.arn
}

output "configuration_set" {
  description = "Configuration set that mail is sent with."
  value       = aws_sesv2_configuration_set.this.configuration_set_name
}

output "configuration_set_arn" {
  description = "ARN of the configuration set."
  value       = aws_sesv2_configuration_set.this.arn
}

output "smtp_host" {
  description = "Host of SES's SMTP, port 587 with STARTTLS."
  value       = "email-smtp.${data.aws_region.current.name}.amazonaws.com"
}

output "smtp_secret_arn" {
  description = "Secret with the SMTP user; empty until somebody fills it."
  value       = aws_secretsmanager_secret.smtp.arn
}

output "feedback_topic_arn" {
  description = "Topic of bounces and complaints."
  value       = aws_sns_topic.feedback.arn
}
