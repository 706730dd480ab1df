# The way in: names and certificate, a load balancer for the shop, API Gateway before it for the API, a firewall for both.

locals {
  hosts = {
    shop = "shop.${var.domain}"
    api  = "api.${var.domain}"
  }
  zone_id = var.create_zone ? aws_route53_zone.this[0].zone_id : data.aws_route53_zone.this[0].zone_id
}

resource "aws_route53_zone" "this" {
  #checkov:skip=CKV2_AWS_38:DNSSEC needs a key in us-east-1 and a record at the parent domain, which this stack does not own
  #checkov:skip=CKV2_AWS_39:Query logs can only be written to us-east-1, outside the environment's region
  count = var.create_zone ? 1 : 0

  name          = var.domain
  comment       = var.name
  force_destroy = !var.deletion_protection
}

data "aws_route53_zone" "this" {
  count = var.create_zone ? 0 : 1

  name = var.domain
}

resource "aws_acm_certificate" "this" {
  domain_name               = var.domain
  subject_alternative_names = ["*.${var.domain}"]
  validation_method         = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

# The domain and its wildcard are proved by the same record.
resource "aws_route53_record" "certificate" {
  zone_id         = local.zone_id
  name            = one([for option in aws_acm_certificate.this.domain_validation_options : option.resource_record_name if option.domain_name == var.domain])
  type            = one([for option in aws_acm_certificate.this.domain_validation_options : option.resource_record_type if option.domain_name == var.domain])
  records         = [one([for option in aws_acm_certificate.this.domain_validation_options : option.resource_record_value if option.domain_name == var.domain])]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "this" {
  certificate_arn         = aws_acm_certificate.this.arn
  validation_record_fqdns = [aws_route53_record.certificate.fqdn]
}

resource "aws_lb" "this" {
  #checkov:skip=CKV2_AWS_76:It wants the list of anonymous addresses too, which refuses shoppers behind a VPN; the rules against Log4j are in the firewall
  #checkov:skip=CKV_AWS_150:The variable decides by environment; prod is protected
  name                       = var.name
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = var.public_subnet_ids
  security_groups            = [var.alb_security_group_id]
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  enable_deletion_protection = var.deletion_protection
  idle_timeout               = 120

  access_logs {
    bucket  = var.log_bucket
    prefix  = "alb"
    enabled = true
  }
}

# Pods enter it by a TargetGroupBinding; Terraform knows the group, Kubernetes who is in it.
resource "aws_lb_target_group" "gateway" {
  #checkov:skip=CKV_AWS_378:TLS from outside ends at the load balancer; inside, the mesh encrypts from sidecar to sidecar
  name                 = "${var.name}-gateway"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = 8080
  deregistration_delay = 30

  health_check {
    protocol            = "HTTP"
    port                = "9080"
    path                = "/readyz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate_validation.this.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_route53_record" "shop" {
  zone_id = local.zone_id
  name    = local.hosts.shop
  type    = "A"

  alias {
    name                   = aws_lb.this.dns_name
    zone_id                = aws_lb.this.zone_id
    evaluate_target_health = true
  }
}
