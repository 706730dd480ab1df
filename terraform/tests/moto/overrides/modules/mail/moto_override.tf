resource "aws_sesv2_configuration_set" "this" {
  count = 0
}

resource "aws_sesv2_configuration_set_event_destination" "feedback" {
  count                  = 0
  configuration_set_name = var.name
}

resource "aws_sesv2_email_identity" "this" {
  count                  = 0
  configuration_set_name = var.name
}

resource "aws_sesv2_email_identity_mail_from_attributes" "this" {
  count          = 0
  email_identity = var.domain
}

resource "aws_route53_record" "dkim" {
  count   = 0
  name    = "token._domainkey.${var.domain}"
  records = ["token.dkim.amazonses.com"]
}

output "domain" {
  value = var.domain
}

output "identity_arn" {
  value = "arn:aws:ses:ap-northeast-2:123456789012:identity/${var.domain}"
}

output "configuration_set" {
  value = var.name
}

output "configuration_set_arn" {
  value = "arn:aws:ses:ap-northeast-2:123456789012:configuration-set/${var.name}"
}
